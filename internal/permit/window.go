package permit

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the zone of a window must be known on every machine
)

// Window is a part of each week, such as "Mon-Fri 02:00-05:00 Europe/Madrid". The zero value is all of it.
type Window struct {
	text     string
	days     [7]bool // on which it opens
	from, to int     // minutes of the day; with to <= from it ends on the next day
	zone     *time.Location
}

// WindowForm is how a window is written, for people.
const WindowForm = `[days] hh:mm-hh:mm <time zone>, such as "Mon-Fri 02:00-05:00 Europe/Madrid", "Sat,Sun 22:00-04:00 UTC" or "02:00-05:00 UTC"`

// ParseWindow reads a window; "" is all of the week.
func ParseWindow(text string) (Window, error) {
	w := Window{text: strings.Join(strings.Fields(text), " ")}
	if w.text == "" {
		return w, nil
	}
	fields := strings.Fields(text)
	if len(fields) == 2 {
		fields = append([]string{"sun-sat"}, fields...)
	}
	if len(fields) != 3 {
		return w, fmt.Errorf("window %q: want %s", text, WindowForm)
	}
	for _, part := range strings.Split(fields[0], ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, b := dayOf(first), dayOf(last)
		if a < 0 || b < 0 {
			return w, fmt.Errorf("window %q: %q is no day of the week; want %s", text, part, WindowForm)
		}
		for d := a; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == b {
				break
			}
		}
	}
	from, to, _ := strings.Cut(fields[1], "-")
	for into, clock := range map[*int]string{&w.from: from, &w.to: to} {
		at, err := time.Parse("15:04", clock)
		if err != nil && clock != "24:00" {
			return w, fmt.Errorf("window %q: %q is no time of day; want %s", text, clock, WindowForm)
		}
		if *into = at.Hour()*60 + at.Minute(); clock == "24:00" {
			*into = 24 * 60
		}
	}
	if w.from == w.to || w.from == 24*60 {
		return w, fmt.Errorf("window %q is empty; leave it out for all of the day, with 00:00-24:00", text)
	}
	var err error
	if w.zone, err = time.LoadLocation(fields[2]); err != nil || fields[2] == "Local" {
		return w, fmt.Errorf("window %q: there is no time zone %q; want one such as Europe/Madrid or UTC", text, fields[2])
	}
	return w, nil
}

// dayOf is the number of a day by the first three letters of its name, -1 = none.
func dayOf(name string) int {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if full := d.String(); strings.EqualFold(name, full[:3]) || strings.EqualFold(name, full) {
			return int(d)
		}
	}
	return -1
}

// Open tells whether a moment is within the window, by the clock on the wall of its zone: in the night in which clocks are put forward it
// is shorter, or not there at all, and longer in the one in which they are put back.
func (w Window) Open(now time.Time) bool {
	if w.zone == nil {
		return true
	}
	now = now.In(w.zone)
	minute := now.Hour()*60 + now.Minute()
	today, yesterday := w.days[now.Weekday()], w.days[(now.Weekday()+6)%7]
	if w.from < w.to {
		return today && minute >= w.from && minute < w.to
	}
	return today && minute >= w.from || yesterday && minute < w.to
}

func (w Window) String() string { return w.text }
