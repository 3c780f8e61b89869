package framework

// CloneFrom is for tests.
var CloneFrom = cloneFrom
