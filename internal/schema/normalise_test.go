package schema_test

import (
	"strings"
	"testing"

	"github.com/aosc/aosc/internal/schema"
	"github.com/aosc/aosc/internal/testkit"
)

// options is what the server prints behind the columns of most tables.
const options = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"

func create(lines ...string) string {
	return "CREATE TABLE `t` (\n  " + strings.Join(lines, ",\n  ") + "\n" + options
}

func TestNormalise(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"as it is", create("`id` int NOT NULL", "PRIMARY KEY (`id`)"), create("`id` int NOT NULL", "PRIMARY KEY (`id`)")},
		{"counter", "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT COMMENT ' AUTO_INCREMENT=7 '\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=latin1 COLLATE=latin1_bin COMMENT='x AUTO_INCREMENT=5 DEFAULT CHARSET=latin1'",
			"CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT COMMENT ' AUTO_INCREMENT=7 '\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin COMMENT='x AUTO_INCREMENT=5 DEFAULT CHARSET=latin1'"},
		{"collation of the table", "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT='x'",
			"CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci COMMENT='x'"},
		{"counter and collation", "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=latin1",
			"CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci"},
		{"column as the table", create("`a` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL DEFAULT 'CHARACTER SET latin1'"),
			create("`a` varchar(9) NOT NULL DEFAULT 'CHARACTER SET latin1'")},
		{"column of another collation", create("`a` varchar(9) COLLATE utf8mb4_bin DEFAULT NULL"), create("`a` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL")},
		{"column of a default collation", create("`a` enum('x)','COLLATE y') CHARACTER SET latin1"), create("`a` enum('x)','COLLATE y') CHARACTER SET latin1 COLLATE latin1_swedish_ci")},
		{"collation inside an expression", create("`a` varchar(9) GENERATED ALWAYS AS ((`b` collate utf8mb4_0900_ai_ci)) VIRTUAL"), create("`a` varchar(9) GENERATED ALWAYS AS ((`b` collate utf8mb4_0900_ai_ci)) VIRTUAL")},
		{"name like a clause", create("`CHARACTER SET` varchar(9)", "`COLLATE utf8mb4_bin` int COMMENT 'it''s COLLATE utf8mb4_bin'"), create("`CHARACTER SET` varchar(9)", "`COLLATE utf8mb4_bin` int COMMENT 'it''s COLLATE utf8mb4_bin'")},
		{"order of keys", create("`a` int", "PRIMARY KEY (`a`)", "UNIQUE KEY `z` (`a`)", "KEY `m` (`a`) COMMENT 'KEY `a`'", "FULLTEXT KEY `b` (`a`)", "KEY `c``d` ((`a` + 1)) /*!80000 INVISIBLE */"),
			create("`a` int", "PRIMARY KEY (`a`)", "FULLTEXT KEY `b` (`a`)", "KEY `c``d` ((`a` + 1)) /*!80000 INVISIBLE */", "KEY `m` (`a`) COMMENT 'KEY `a`'", "UNIQUE KEY `z` (`a`)")},
		{"kind of key", create("`a` int", "PRIMARY KEY (`a`) USING BTREE", "KEY `m` (`a`) USING BTREE COMMENT 'USING BTREE'"), create("`a` int", "PRIMARY KEY (`a`)", "KEY `m` (`a`) COMMENT 'USING BTREE'")},
		{"introducers", create("`a` varchar(9) DEFAULT (concat(_utf8mb4'_latin1''x',_binary'y',_latin1 0x41))", "CONSTRAINT `c` CHECK ((`a` <> _latin1'\\'x'))"),
			create("`a` varchar(9) DEFAULT (concat('_latin1''x',_binary'y',_latin1 0x41))", "CONSTRAINT `c` CHECK ((`a` <> '\\'x'))")},
		{"order of checks", create("`a` int", "CONSTRAINT `a` CHECK ((`a` > 2))", "CONSTRAINT `b` CHECK ((`a` > 1))"), create("`a` int", "CONSTRAINT `b` CHECK ((`a` > 1))", "CONSTRAINT `a` CHECK ((`a` > 2))")},
		{"system tablespace", "CREATE TABLE `t` (\n  `a` int\n) /*!50100 TABLESPACE `innodb_system` */ ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
			create("`a` int")},
		{"growth of the file", "CREATE TABLE `t` (\n  `autoextend_size` int\n) /*!50100 TABLESPACE `x` */ /*!80023 AUTOEXTEND_SIZE=8388608 " +
			"*/ ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
			"CREATE TABLE `t` (\n  `autoextend_size` int\n) /*!50100 TABLESPACE `x` */ " + strings.TrimPrefix(options, ") ")},
		{"a tablespace that was asked for", "CREATE TABLE `t` (\n  `a` int\n) /*!50100 TABLESPACE `innodb_file_per_table` */ " + strings.TrimPrefix(options, ") "),
			"CREATE TABLE `t` (\n  `a` int\n) /*!50100 TABLESPACE `innodb_file_per_table` */ " + strings.TrimPrefix(options, ") ")},
		{"partitions", "CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB AUTO_INCREMENT=9 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci\n/*!50100 PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (10) COMMENT = 'AUTO_INCREMENT=5' ENGINE = InnoDB) */",
			"CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci\n/*!50100 PARTITION BY RANGE (`id`)\n(PARTITION p0 VALUES LESS THAN (10) COMMENT = 'AUTO_INCREMENT=5' ENGINE = InnoDB) */"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := schema.Normalise(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if f.Text != c.want {
				t.Errorf("got\n%s\nwant\n%s", f.Text, c.want)
			}
			again, err := schema.Normalise(f.Text)
			if err != nil || again != f {
				t.Errorf("the form of the form is another (%v):\n%s", err, again.Text)
			}
		})
	}
}

func TestNormaliseHash(t *testing.T) {
	hash := func(lines ...string) string {
		f, err := schema.Normalise(create(lines...))
		if err != nil {
			t.Fatal(err)
		}
		return f.Hash
	}
	named := hash("`a` int", "CONSTRAINT `x` CHECK ((`a` > 1))", "CONSTRAINT `y` CHECK ((`a` > 2))")
	if named != hash("`a` int", "CONSTRAINT `t_chk_1` CHECK ((`a` > 2))", "CONSTRAINT `t_chk_2` CHECK ((`a` > 1))") {
		t.Error("names of checks count")
	}
	for _, other := range [][]string{
		{"`a` int", "CONSTRAINT `x` CHECK ((`a` > 1))"},
		{"`a` int", "CONSTRAINT `x` CHECK ((`a` > 1))", "CONSTRAINT `y` CHECK ((`a` > 2)) /*!80016 NOT ENFORCED */"},
		{"`a` bigint", "CONSTRAINT `x` CHECK ((`a` > 1))", "CONSTRAINT `y` CHECK ((`a` > 2))"},
		{"`A` int", "CONSTRAINT `x` CHECK ((`a` > 1))", "CONSTRAINT `y` CHECK ((`a` > 2))"},
	} {
		if hash(other...) == named {
			t.Errorf("%q has the hash of another table", other)
		}
	}
}

func TestNormaliseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "CREATE ALGORITHM=UNDEFINED VIEW `v` AS select 1 AS `1`", "CREATE TABLE `t` (", "CREATE TABLE `t` (`a` int) ENGINE=InnoDB", "CREATE TABLE `t` (`a` int COMMENT 'x",
	} {
		if f, err := schema.Normalise(text); err == nil {
			t.Errorf("%q has a form: %s", text, f.Text)
		}
	}
}

// The table of default collations is the server's own.
func TestDefaultCollations(t *testing.T) {
	srv := testkit.Server(t)
	rows, err := srv.DB().QueryContext(t.Context(), "SELECT character_set_name, default_collate_name FROM information_schema.character_sets")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var charset, collation string
		if err := rows.Scan(&charset, &collation); err != nil {
			t.Fatal(err)
		}
		f, err := schema.Normalise("CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB DEFAULT CHARSET=" + charset)
		if err != nil || !strings.HasSuffix(f.Text, " COLLATE="+collation) {
			t.Errorf("%s: %s, want %s (%v)", charset, f.Text, collation, err)
		}
	}
	if err := rows.Err(); err != nil || n < 40 {
		t.Errorf("%d character sets: %v", n, err)
	}
}
