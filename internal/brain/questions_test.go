package brain

import (
	"errors"
	"testing"
	"time"

	"github.com/aosc/aosc/aoscdb"
	"github.com/aosc/aosc/internal/fleet"
)

const recheck = 5 * time.Minute

// knew sets a judgement of so long ago for the present question.
func (s *snapshot) knew(kind kind, age time.Duration, failures int) *snapshot {
	s.Known[tab] = judgement{Question: s.question(tab), Verdict: verdict{Kind: kind, Reason: "because"}, At: now.Add(-age), Failures: failures}
	return s
}

// Planning is costly: the servers are asked only when the answer decides something and is not known.
func TestQuestions(t *testing.T) {
	tier := func(change func(*aoscdb.Tier)) func(*snapshot) {
		return func(s *snapshot) {
			t := s.Tiers["udb"]
			change(&t)
			s.Tiers["udb"] = t
		}
	}
	cases := map[string]struct {
		s    *snapshot
		want bool
	}{
		"new":                               {world(), true},
		"new, known to fit":                 {world().knew(fits, time.Hour, 0), false},
		"new, no permission":                {world().noPermission(), false},
		"new, no file":                      {world().noFile(), false},
		"new, git away":                     {world().with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("x") }), false},
		"new, inventory unreadable":         {world().with(func(s *snapshot) { s.InventoryErr = errors.New("x") }), false},
		"new, unknown tier":                 {world().with(func(s *snapshot) { delete(s.Tiers, "udb") }), false},
		"asked in this pass":                {world().asked(), false},
		"held, refused lately":              {world().knew(refused, time.Minute, 0).current("HOLD", "brain"), false},
		"held, refused long ago":            {world().knew(refused, recheck, 0).current("HOLD", "brain"), true},
		"held, after a restart":             {world().current("HOLD", "brain"), true},
		"held, waiting since a moment":      {world().knew(waiting, time.Second, 1).current("HOLD", "brain"), false},
		"held, waiting, asked 5 s ago":      {world().knew(waiting, 5*time.Second, 1).current("HOLD", "brain"), true},
		"held, waiting for the third time":  {world().knew(waiting, 19*time.Second, 3).current("HOLD", "brain"), false},
		"held, third time, 20 s ago":        {world().knew(waiting, 20*time.Second, 3).current("HOLD", "brain"), true},
		"held, waiting for ever":            {world().knew(waiting, recheck, 1000).current("HOLD", "brain"), true},
		"held, allow_unsafe given":          {world().knew(refused, time.Second, 0).unsafe().current("HOLD", "brain"), true},
		"held, another text":                {world().knew(refused, time.Second, 0).blob("blob2").current("HOLD", "brain"), true},
		"held, tier changed":                {world().knew(refused, time.Second, 0).with(tier(func(t *aoscdb.Tier) { t.CreateMissing = false })).current("HOLD", "brain"), true},
		"held, a limit of the tier changed": {world().knew(refused, time.Second, 0).with(tier(func(t *aoscdb.Tier) { t.MaxRunning = 9; t.VerifyTries = 1 })).current("HOLD", "brain"), false},
		"held, a cluster joined": {world().knew(refused, time.Second, 0).current("HOLD", "brain").with(func(s *snapshot) {
			t := s.Inventory["udb"]
			t.Clusters = append(t.Clusters, fleet.Cluster{Tier: "udb", Name: "udb-9"})
			s.Inventory["udb"] = t
		}), true},
		"the brain's HOLD lifted by hand":  {world().knew(refused, time.Second, 0).current("IPR", "brain"), true},
		"the worker's HOLD":                {world().current("HOLD", "worker"), false},
		"the worker's HOLD, another text":  {world().blob("blob2").current("HOLD", "worker"), true},
		"the worker's HOLD lifted by hand": {world().blob("blob2").current("IPR", "worker"), false},
		"the operator's HOLD":              {world().blob("blob2").current("HOLD", "operator"), false},
		"a bare HOLD":                      {world().blob("blob2").current("HOLD", ""), false},
		"in progress":                      {world().knew(fits, time.Hour, 0).current("IPR", ""), false},
		"in progress, another text":        {world().knew(fits, time.Hour, 0).blob("blob2").current("IPR", ""), true},
		"in progress, another permission":  {world().knew(fits, time.Hour, 0).unsafe().current("IPR", ""), true},
		"in progress, copy_engine changed": {
			world().knew(fits, time.Hour, 0).with(tier(func(t *aoscdb.Tier) { t.CopyEngine = "ghost" })).current("IPR", ""), true},
		"in progress, custom list":  {world().knew(fits, time.Hour, 0).custom("db1").current("IPR", ""), true},
		"DONE":                      {world().done(idle(1)), false},
		"DONE, tier changed":        {world().knew(fits, time.Hour, 0).unsafe().done(idle(1)), false},
		"DONE, another text":        {world().blob("blob2").done(idle(1)), true},
		"DONE, another server_list": {world().custom("db1").done(idle(1)), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := len(questions(c.s, recheck)) == 1; got != c.want {
				t.Errorf("asked %v, want %v", got, c.want)
			}
		})
	}
}

// A brain that starts, or takes over, plans what is held or new, not what was admitted before.
func TestAdopt(t *testing.T) {
	cases := map[string]struct {
		s    *snapshot
		want kind
	}{
		"in progress":                {world().current("IPR", ""), fits},
		"DONE":                       {world().done(idle(1)), fits},
		"in progress, another text":  {world().blob("blob2").current("IPR", ""), pending},
		"in progress, other servers": {world().custom("db1").current("IPR", ""), pending},
		"I6: held by the brain":      {world().current("HOLD", "brain"), pending},
		"I6: lifted by hand":         {world().current("IPR", "brain"), pending},
		"I6: held by the worker":     {world().current("HOLD", "worker"), pending},
		"new":                        {world(), pending},
		"git away":                   {world().current("IPR", "").with(func(s *snapshot) { s.Head, s.HeadErr = nil, errors.New("x") }), waiting},
		"known to be refused since":  {world().current("IPR", "").judged(refused, "because"), refused},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			adopt(c.s)
			if got := c.s.verdict(tab); got.Kind != c.want {
				t.Errorf("verdict %v, want %v", got.Kind, c.want)
			}
		})
	}
	s := world().noPermission().knew(fits, 0, 0)
	if adopt(s); len(s.Known) != 0 {
		t.Error("the verdict on an alter that is gone is kept")
	}
}
