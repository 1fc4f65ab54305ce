package strict

import (
	"reflect"
	"strings"
	"sync"
)

// A structField is how to reach a field from its json name.
type structField struct {
	owner string // the type that declares it, which may be an embedded one
	index []int
}

var fieldCache sync.Map // reflect.Type to map[string]structField

// fieldsOf gives the fields of a struct type by their json names, those of embedded structs included.
func fieldsOf(t reflect.Type) map[string]structField {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]structField)
	}
	fields := map[string]structField{}
	addFields(fields, t, nil)
	fieldCache.Store(t, fields)
	return fields
}

func addFields(fields map[string]structField, t reflect.Type, index []int) {
	for f := range t.Fields() {
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		at := append(append([]int{}, index...), f.Index...)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "" || strings.Contains(options, "inline"):
			addFields(fields, f.Type, at)
		case name != "":
			fields[name] = structField{owner: t.Name(), index: at}
		case f.IsExported():
			fields[f.Name] = structField{owner: t.Name(), index: at}
		}
	}
}
