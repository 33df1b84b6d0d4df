// Package table converts lists to rows of text cells, for the API's CSV and for piped output of commands. A row has a cell for
// each member of its JSON object, with the same name. Members of a nested object are cells too: typing.count is typingCount.
package table

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Names returns the names of the cells of a row of type R.
func Names[R any]() []string { return names(reflect.TypeFor[R]()) }

func names(row reflect.Type) []string {
	var all []string
	for f := range row.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !isObject(f.Type) {
			all = append(all, name)
			continue
		}
		for _, inner := range names(f.Type) {
			if name != "" {
				inner = name + strings.ToUpper(inner[:1]) + inner[1:]
			}
			all = append(all, inner)
		}
	}
	return all
}

// Cells returns a row's cells: "" for null, and strings converted by text.
func Cells[R any](row R, text func(string) string) []string { return cells(reflect.ValueOf(row), text) }

func cells(row reflect.Value, text func(string) string) []string {
	var all []string
	for f, v := range row.Fields() {
		if isObject(f.Type) {
			all = append(all, cells(v, text)...)
		} else {
			all = append(all, cell(v, text))
		}
	}
	return all
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// isObject reports whether a member is an object in JSON, or embedded: a struct that is not a time.
func isObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && !t.Implements(textMarshaler) }

func cell(v reflect.Value, text func(string) string) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch v := v.Interface().(type) {
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			panic(err) // only times of four-digit years and statuses
		}
		return string(b)
	case json.Marshaler:
		b, err := v.MarshalJSON()
		var compact bytes.Buffer
		if err != nil || json.Compact(&compact, b) != nil {
			return string(b)
		}
		return strings.TrimPrefix(compact.String(), "null")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return text(v)
	default: // integers
		return fmt.Sprint(v)
	}
}
