// Package conformance holds the single-machine Mesos against recordings of a
// real one. The files in testdata are excerpts of those recordings: what a
// client sent and what came back, with the ids, times and addresses of the day
// as {{tokens}}. The test sends the same and compares, and keeps
// docs/mesos-conformance.md, which says for each rule whether it held.
//
// A line of an excerpt is one of
//
//	send LABEL METHOD PATH [stream]   a request; headers and body follow, indented
//	recv LABEL STATUS                 its response, likewise
//	event LABEL JSON                  an event on a label's stream
//	end LABEL clean|cut               the end of a stream
//	do VERB ...                       something the recorder did, see steps_test.go
//	# remark
//
// A request without headers has those of every other call of its kind. Labels
// that begin with EXECUTOR are the executor's side, which a real executor
// plays.
package conformance
