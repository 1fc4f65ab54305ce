package supervisor

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/podsim/podsim/podsim/manifest"
)

// A ForbiddenError names the fields of a running pod that cannot be changed, and were asked to be.
type ForbiddenError struct {
	Pod    string
	Fields []string
}

func (e *ForbiddenError) Error() string {
	return fmt.Sprintf("The Pod %q is invalid: spec: Forbidden: pod updates may not change %s; only spec.containers[*].image, spec.initContainers[*].image, "+
		"spec.activeDeadlineSeconds, spec.tolerations, labels and annotations of a running pod change in place (delete it first, to have it anew)",
		e.Pod, strings.Join(e.Fields, ", "))
}

// A change is what differs between a pod as it is and as it is asked for.
type change struct {
	spec *corev1.Pod // the pod as it is to be; nil: as it is
	what []string    // in words
}

// changeOf compares a running pod with what is asked for. What an API server refuses is a *ForbiddenError that names the
// field.
func changeOf(now, asked *corev1.Pod) (change, error) {
	next := now.DeepCopy()
	next.Labels, next.Annotations = maps.Clone(asked.Labels), maps.Clone(asked.Annotations)
	var c change
	images := func(where string, have, want []corev1.Container) {
		for i := range have {
			if i < len(want) && have[i].Name == want[i].Name && have[i].Image != want[i].Image {
				c.what = append(c.what, fmt.Sprintf("spec.%s[%d].image", where, i))
				have[i].Image = want[i].Image
			}
		}
	}
	images("initContainers", next.Spec.InitContainers, asked.Spec.InitContainers)
	images("containers", next.Spec.Containers, asked.Spec.Containers)
	next.Spec.ActiveDeadlineSeconds, next.Spec.Tolerations = asked.Spec.ActiveDeadlineSeconds, asked.Spec.Tolerations
	want := asked.Spec.DeepCopy()
	want.NodeName = next.Spec.NodeName
	want.EphemeralContainers = next.Spec.EphemeralContainers // they come by a way of their own
	if !equality.Semantic.DeepEqual(next.Spec, *want) {
		return change{}, &ForbiddenError{Pod: now.Name, Fields: differences("spec", plain(next.Spec), plain(*want))}
	}
	if !equality.Semantic.DeepEqual(now.Labels, next.Labels) {
		c.what = append(c.what, "metadata.labels")
	}
	if !equality.Semantic.DeepEqual(now.Annotations, next.Annotations) {
		c.what = append(c.what, "metadata.annotations")
	}
	if !equality.Semantic.DeepEqual(now.Spec.ActiveDeadlineSeconds, next.Spec.ActiveDeadlineSeconds) {
		c.what = append(c.what, "spec.activeDeadlineSeconds")
	}
	if !equality.Semantic.DeepEqual(now.Spec.Tolerations, next.Spec.Tolerations) {
		c.what = append(c.what, "spec.tolerations")
	}
	if len(c.what) > 0 {
		c.spec = next
	}
	return c, nil
}

// changedResources names the ConfigMaps and Secrets that differ.
func changedResources(have, want manifest.Resources) (names []string) {
	for _, o := range want.ConfigMaps {
		if !equality.Semantic.DeepEqual(have.ConfigMap(o.Namespace, o.Name), o) {
			names = append(names, "configmap/"+o.Name)
		}
	}
	for _, o := range want.Secrets {
		if !equality.Semantic.DeepEqual(have.Secret(o.Namespace, o.Name), o) {
			names = append(names, "secret/"+o.Name)
		}
	}
	return names
}

// plain is v as JSON has it.
func plain(v any) any {
	text, err := json.Marshal(v)
	var out any
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("encode a pod's spec: %v", err)) // a value of the API's own types always can be
	}
	return out
}

// differences names the fields in which two values differ, as deep as both have them.
func differences(path string, a, b any) (fields []string) {
	ma, oka := a.(map[string]any)
	mb, okb := b.(map[string]any)
	if oka && okb {
		keys := slices.Collect(maps.Keys(ma))
		keys = slices.AppendSeq(keys, maps.Keys(mb))
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			fields = append(fields, differences(path+"."+k, ma[k], mb[k])...)
		}
		return fields
	}
	la, oka := a.([]any)
	lb, okb := b.([]any)
	if oka && okb && len(la) == len(lb) {
		for i := range la {
			fields = append(fields, differences(fmt.Sprintf("%s[%d]", path, i), la[i], lb[i])...)
		}
		return fields
	}
	if !reflect.DeepEqual(a, b) {
		return []string{path}
	}
	return nil
}
