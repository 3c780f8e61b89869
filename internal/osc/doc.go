// Package osc brings ONE table on ONE instance to its desired form, online: it plans (what differs, how it can be
// done, what would be lost), runs the cheapest engine that serves, verifies a copy before it replaces the original, and
// cleans up what an interrupted run left behind.
//
// The decision (Choose) is a pure function of Facts; gathering and acting around it are thin. Engines that copy
// are behind the port of the sub-package copy. Outcomes are read from the server, never
// believed from an engine.
package osc
