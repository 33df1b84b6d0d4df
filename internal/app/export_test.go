package app

import (
	"reflect"
	"slices"
)

// Patterns returns the patterns that are registered with the service's mux, which net/http keeps to itself.
func (a *App) Patterns() []string {
	var patterns []string
	index := reflect.ValueOf(a.mux).Elem().FieldByName("index")
	add := func(list reflect.Value) {
		for i := range list.Len() {
			patterns = append(patterns, list.Index(i).Elem().FieldByName("str").String())
		}
	}
	for segments := index.FieldByName("segments").MapRange(); segments.Next(); {
		add(segments.Value())
	}
	add(index.FieldByName("multis"))
	slices.Sort(patterns)
	return slices.Compact(patterns)
}
