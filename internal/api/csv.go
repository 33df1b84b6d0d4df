package api

import (
	"bufio"
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A row of CSV has a cell for each member of the row's JSON object, under the same name. Members of an object within it
// are cells too: typing.count is typingCount.

// names returns the names of a row's cells.
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

// cells returns a row's cells, "" for null.
func cells(row reflect.Value) []string {
	var all []string
	for f, v := range row.Fields() {
		if isObject(f.Type) {
			all = append(all, cells(v)...)
		} else {
			all = append(all, cell(v))
		}
	}
	return all
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// isObject says whether a member is an object in JSON, or embedded: a struct that is no time.
func isObject(t reflect.Type) bool { return t.Kind() == reflect.Struct && !t.Implements(textMarshaler) }

func cell(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch v := v.Interface().(type) {
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			panic(err) // times of four-digit years and statuses
		}
		return string(text)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case object:
		var b bytes.Buffer
		if len(v) > 0 && json.Compact(&b, v) != nil {
			return string(v)
		}
		return b.String()
	default: // strings and integers
		return fmt.Sprint(v)
	}
}

// writeCSV writes a line as RFC 4180 has it. Unlike encoding/csv it leaves line breaks in a cell as they are.
func writeCSV(out *bufio.Writer, cells []string) error {
	for i, c := range cells {
		if i > 0 {
			out.WriteByte(',')
		}
		if strings.ContainsAny(c, "\",\r\n") {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		out.WriteString(c)
	}
	_, err := out.WriteString("\r\n")
	return err
}
