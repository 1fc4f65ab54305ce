package printer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// A Format is one in which whole objects are printed: one of the -o values but wide.
type Format struct {
	name     string
	template string
	printed  int // how many objects were printed; YAML parts them
}

// Formats are the values of -o, for a message.
const Formats = "json, yaml, name, wide, jsonpath='{...}' or jsonpath-as-json='{...}'"

// ParseFormat reads the value of -o. An empty one and wide ask for a table: then f is nil.
func ParseFormat(value string) (f *Format, wide bool, err error) {
	name, template, given := strings.Cut(value, "=")
	switch {
	case value == "":
		return nil, false, nil
	case value == "wide":
		return nil, true, nil
	case slices.Contains([]string{"json", "yaml", "name"}, name) && !given:
		return &Format{name: name}, false, nil
	case name != "jsonpath" && name != "jsonpath-as-json":
		return nil, false, fmt.Errorf("unable to match a printer suitable for the output format %q: use %s", value, Formats)
	case template == "":
		return nil, false, errors.New("template format specified but no template given")
	}
	f = &Format{name: name, template: template}
	if _, err := f.parsed(); err != nil {
		return nil, false, fmt.Errorf("error parsing jsonpath %s, %w", template, err)
	}
	return f, false, nil
}

func (f *Format) parsed() (*jsonpath.JSONPath, error) {
	p := jsonpath.New("out").AllowMissingKeys(true)
	p.EnableJSONOutput(f.name == "jsonpath-as-json")
	return p, p.Parse(f.template)
}

// Pod prints one pod.
func (f *Format) Pod(out io.Writer, p *corev1.Pod) error {
	return f.one(out, podObject(p), "pod/"+p.Name)
}

// Pods prints pods as a List, also if there is one, or none.
func (f *Format) Pods(out io.Writer, pods []*corev1.Pod) error {
	items, names := make([]any, len(pods)), make([]string, len(pods))
	for i, p := range pods {
		items[i], names[i] = podObject(p), "pod/"+p.Name
	}
	return f.list(out, "List", items, names)
}

// Event prints one event.
func (f *Format) Event(out io.Writer, e corev1.Event) error {
	return f.one(out, eventObject(e), "event/"+e.Name)
}

// Events prints events as a list of a kind: List or EventList.
func (f *Format) Events(out io.Writer, kind string, events []corev1.Event) error {
	items, names := make([]any, len(events)), make([]string, len(events))
	for i, e := range events {
		items[i], names[i] = eventObject(e), "event/"+e.Name
	}
	return f.list(out, kind, items, names)
}

// Watched prints what a watch saw: its type (ADDED, MODIFIED, DELETED) and the pod. As JSON it is one line.
func (f *Format) Watched(out io.Writer, event string, p *corev1.Pod) error {
	return f.watched(out, event, podObject(p), "pod/"+p.Name)
}

// WatchedEvent is Watched of an event.
func (f *Format) WatchedEvent(out io.Writer, event string, e corev1.Event) error {
	return f.watched(out, event, eventObject(e), "event/"+e.Name)
}

func (f *Format) watched(out io.Writer, event string, object any, name string) error {
	seen := watchEvent{event, object}
	if f.name != "json" {
		return f.one(out, seen, name)
	}
	tree, err := treeOf(object)
	if err != nil {
		return err
	}
	text, err := json.Marshal(watchEvent{event, tree})
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

// A watchEvent is metav1.WatchEvent, with an object that need not be encoded.
type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// one prints an object, or its name.
func (f *Format) one(out io.Writer, object any, name string) error {
	if f.name == "name" {
		_, err := fmt.Fprintln(out, escape(name))
		return err
	}
	text, err := f.text(object)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

func (f *Format) list(out io.Writer, kind string, items []any, names []string) error {
	if f.name == "name" {
		for _, name := range names {
			if err := f.one(out, nil, name); err != nil {
				return err
			}
		}
		return nil
	}
	return f.one(out, map[string]any{"apiVersion": "v1", "kind": kind, "items": items, "metadata": map[string]any{"resourceVersion": ""}}, "")
}

// text is an object in the format. The keys of JSON are in alphabetical order, as kubectl has them.
func (f *Format) text(object any) ([]byte, error) {
	if f.name == "yaml" {
		text, err := yaml.Marshal(object)
		if f.printed++; f.printed > 1 {
			text = append([]byte("---\n"), text...)
		}
		return text, err
	}
	tree, err := treeOf(object)
	if err != nil {
		return nil, err
	}
	if f.name == "json" {
		text, err := json.MarshalIndent(tree, "", "    ")
		return append(text, '\n'), err
	}
	path, err := f.parsed()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := path.Execute(&text, tree); err != nil {
		return nil, fmt.Errorf("error executing jsonpath %q: %w", f.template, err)
	}
	return text.Bytes(), nil
}

// treeOf is an object as its JSON reads: maps, whose keys are encoded in alphabetical order, lists and values.
func treeOf(object any) (tree any, err error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	err = utiljson.Unmarshal(text, &tree) // whole numbers stay whole
	return tree, err
}

// podObject and eventObject are objects that say what they are.
func podObject(p *corev1.Pod) *corev1.Pod {
	whole := *p
	whole.APIVersion, whole.Kind = "v1", "Pod"
	return &whole
}

func eventObject(e corev1.Event) *corev1.Event {
	e.APIVersion, e.Kind = "v1", "Event"
	return &e
}
