package mysql

// GTIDTexts is the table gtidTexts, for the test that holds it against a server.
func GTIDTexts() map[string]string {
	texts := map[string]string{}
	for _, c := range gtidTexts {
		texts[c.text] = c.normal
	}
	return texts
}
