package schema

import (
	"slices"
	"testing"
)

// TestDirection is DirectionOf without a server, on normal forms: what the measured cases do not reach.
func TestDirection(t *testing.T) {
	form := func(body, rest string) Form {
		f, err := Normalise("CREATE TABLE `t` (\n  `id` int NOT NULL,\n  " + body + "PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci" + rest)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name, from, to string
		order          Order
		needs          []string
	}{
		{"equal", "`a` int DEFAULT NULL,", "`a` int DEFAULT NULL,", EitherFirst, nil},
		{"two looser parts", "`a` int NOT NULL,", "`a` int DEFAULT NULL, `b` int DEFAULT NULL,", ReplicasFirst, nil},
		{"looser and stricter", "`a` int NOT NULL, `b` int DEFAULT NULL,", "`a` int DEFAULT NULL, `b` int NOT NULL,", NeverRolling, nil},
		{"never wins", "`a` int NOT NULL, `b` date DEFAULT NULL,", "`a` int DEFAULT NULL, `b` datetime DEFAULT NULL,", NeverRolling, nil},
		{"both kinds of integers", "`a` int NOT NULL, `b` int unsigned NOT NULL,", "`a` bigint NOT NULL, `b` bigint unsigned NOT NULL,", NeverRolling, nil},
		{"decimal shifts its point", "`a` decimal(6,2) NOT NULL,", "`a` decimal(6,3) NOT NULL,", NeverRolling, nil},
		{"another expression", "`a` int NOT NULL, `g` int GENERATED ALWAYS AS ((`a` + 1)) STORED,", "`a` int NOT NULL, `g` int GENERATED ALWAYS AS ((`a` + 2)) STORED,", NeverRolling, nil},
		{"varchar to char", "`a` varchar(9) NOT NULL,", "`a` char(9) NOT NULL,", NeverRolling, nil},
		{"fraction lost", "`a` datetime(6) NOT NULL,", "`a` datetime NOT NULL,", NeverRolling, nil},
		{"foreign key", "`a` int NOT NULL, KEY `a` (`a`), ", "`a` int NOT NULL, KEY `a` (`a`), CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`), ", NeverRolling, nil},
		{"a rename and a drop", "`a` int NOT NULL, `b` int NOT NULL,", "`c` int NOT NULL,", NeverRolling, nil},
		{"a check changed", "`a` int NOT NULL, CONSTRAINT `c` CHECK ((`a` > 0)), ", "`a` int NOT NULL, CONSTRAINT `c` CHECK ((`a` > 1)), ", NeverRolling, nil},
		{"not enforced", "`a` int NOT NULL,", "`a` int NOT NULL, CONSTRAINT `c` CHECK ((`a` > 1)) /*!80016 NOT ENFORCED */, ", EitherFirst, nil},
	} {
		d := DirectionOf(form(c.from, ""), form(c.to, ""))
		if d.Order != c.order || !slices.Equal(d.Needs, c.needs) || c.order == NeverRolling && d.Why == "" {
			t.Errorf("%s: %+v, want %s %v", c.name, d, c.order, c.needs)
		}
	}
	if d := DirectionOf(form("", ""), Form{Text: "CREATE VIEW v AS SELECT 1", Hash: "x"}); d.Order != NeverRolling {
		t.Errorf("a view: %+v", d)
	}
}
