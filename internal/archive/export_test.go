package archive

// SetGroupRows makes row groups small until the test ends.
func SetGroupRows(rows int) (reset func()) {
	before := groupRows
	groupRows = rows
	return func() { groupRows = before }
}
