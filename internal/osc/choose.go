package osc

// Facts are all that Choose decides on.
type Facts struct {
	Missing bool // the table is not there
	Equal   bool // it has the desired form already

	// What the proof found the server can do with this change on an empty copy.
	Instant, Inplace, Rebuilds, BuildsIndex bool
	ProofFailed                             string // why the change is not proven, "" = proven

	Rows          uint64
	DirectMaxRows uint64
	HasReplicas   bool
	NoBinlog      bool   // this instance alone
	NotRolling    string // why this change cannot be made on one instance at a time, "" = it can
	CopyEngine    string
	CreateMissing bool
	AllowUnsafe   bool
	Loses         []string // what data would be lost, one line each
	NoCopy        string   // why no copy can be made, "" = one can
}
