// Package copy is the port behind which the engines are that alter a table by a copy: what they are told, what they tell, and what they may
// leave behind. Each has an adapter in a package of its own below this one; whoever runs copies (package osc) knows them by this port
// alone.
package copy
