package preflight

const followsLog = "a copy follows the changes in the binary log: "

// Log asks for a binary log.
var Log = Check{Name: "log", Why: func(f Facts) string {
	if f.Server.LogBin {
		return ""
	}
	return followsLog + "the server has none (log_bin is OFF)"
}}
