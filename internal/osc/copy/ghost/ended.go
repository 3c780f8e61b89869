package ghost

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aosc/aosc/internal/osc/copy"
)

// endedError is the cause with which everything ends when the child does.
type endedError struct{ said string }

func (e *endedError) Error() string { return "gh-ost ended: " + e.said }

// Final tells whether the next child would end in the same way.
func (e *endedError) Final() bool { return finalText(e.said) }

// isEnded tells whether an error says that the child has ended.
func isEnded(err error) bool {
	var e *endedError
	return errors.As(err, &e)
}

// childError is how the driver renders an error of the server, within what gh-ost says of it.
var childError = regexp.MustCompile(`Error ([0-9]{4})(?: \([0-9A-Z]{5}\))?: `)

// childSays are gh-ost's own words for what will be so at the next try.
var childSays = []string{
	"No shared unique key can be found",
	"No PRIMARY nor UNIQUE key found in table",
	"because of SQL warnings",
	"Warnings detected during DML event application",
}

// finalText judges what a gh-ost child said last. It has tried the same statement for a minute by then.
func finalText(text string) bool {
	for _, m := range childError.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[1], 10, 16)
		if err == nil && copy.FinalNumber(uint16(n)) {
			return true
		}
	}
	return slices.ContainsFunc(childSays, func(words string) bool { return strings.Contains(text, words) })
}
