package scenarios

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/podsim/podsim/podsim/manifest"
	"github.com/podsim/podsim/podsim/manifest/diag"
	"github.com/podsim/podsim/podsim/pod"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// updateVerb asks for the pod, and for ConfigMaps and Secrets that it uses, in another form. It is over when that was
// taken and, unless it waits for nothing, the containers whose images were changed run them.
type updateVerb struct {
	images              map[string]*Image
	labels, annotations map[string]*string // nil takes the key away
	deadline            *int64             // activeDeadlineSeconds; nil: as it is
	refresh             pod.Refresh
	wait                string
}

// An UpdateImage is an image that an update step brings.
type UpdateImage struct {
	Container string
	// Image is the step's own: whoever makes one of a binary or an archive sets its Reference before the run.
	Image *Image
}

// UpdateImages lists the images that the scenario's update steps bring, in the order of the file.
func (s *Scenario) UpdateImages() []UpdateImage {
	var out []UpdateImage
	for _, step := range s.allSteps() {
		if v, ok := step.do.(*updateVerb); ok {
			for _, name := range slices.Sorted(maps.Keys(v.images)) {
				out = append(out, UpdateImage{name, v.images[name]})
			}
		}
	}
	return out
}

func (v *updateVerb) repeats(*Step) bool { return false }

func (v *updateVerb) ask(s scene) []pod.Action {
	if len(s.round) > 0 || s.over || !s.history.Status(s.pod().Name).Up() {
		return nil
	}
	var out []pod.Action
	metadata := len(v.labels)+len(v.annotations) > 0
	if metadata || len(v.images) > 0 || v.deadline != nil {
		out = append(out, pod.Action{Op: pod.OpUpdate, Pod: s.pod().Name, Spec: v.changed(s.pod())})
	}
	if metadata || len(v.refresh.ConfigMaps)+len(v.refresh.Secrets) > 0 {
		out = append(out, pod.Action{Op: pod.OpRefresh, Pod: s.pod().Name, Refresh: &v.refresh})
	}
	return out
}

// changed is a pod as the step asks for it.
func (v *updateVerb) changed(now *corev1.Pod) *corev1.Pod {
	p := now.DeepCopy()
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if image := v.images[list[i].Name]; image != nil {
				list[i].Image = image.Reference
			}
		}
	}
	p.Labels, p.Annotations = merged(p.Labels, v.labels), merged(p.Annotations, v.annotations)
	if v.deadline != nil {
		p.Spec.ActiveDeadlineSeconds = v.deadline
	}
	return p
}

// merged is a map with some keys set, and those of nil taken away.
func merged(have map[string]string, change map[string]*string) map[string]string {
	out := maps.Clone(have)
	if out == nil && len(change) > 0 {
		out = map[string]string{}
	}
	for key, value := range change {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = *value
		}
	}
	return out
}

func (v *updateVerb) look(s scene) []Finding {
	f := s.finding(s.step.Title)
	if len(s.round) == 0 && s.over {
		return []Finding{f.fail(never, "the pod is gone")}
	}
	if len(s.round) == 0 {
		return []Finding{f.fail(never, "the pod was not asked for")}
	}
	for _, a := range s.round {
		f.Proof = append(f.Proof, a.began.Seq, a.ended.Seq)
		if why := failure(a); why != "" {
			return []Finding{f.fail(never, "%s", why)}
		}
	}
	if v.wait == upNone {
		return []Finding{f.pass("asked for")}
	}
	if missing := v.missing(s); len(missing) > 0 {
		f.Containers = missing
		h, st := soon, s.history.Status(s.pod().Name)
		if st.Ending() || s.gone() {
			h = never
		}
		return []Finding{f.fail(h, "not running the new image: %s", describeMissing(s, missing))}
	}
	if v.wait == upReady {
		return []Finding{podState(s, f, string(corev1.PodReady))}
	}
	return []Finding{f.pass("done")}
}

// missing lists the containers that do not run the image that was asked for. A regular init container is not waited for:
// one that has ended does not run again (IN-06).
func (v *updateVerb) missing(s scene) (names []string) {
	st := s.history.Status(s.pod().Name)
	for _, list := range [][]corev1.Container{s.pod().Spec.InitContainers, s.pod().Spec.Containers} {
		for i := range list {
			name := list[i].Name
			if v.images[name] == nil || pod.RoleOf(s.pod(), name) == pod.RoleInit {
				continue
			}
			if c, ok := st.Container(name); !ok || c.ImageName != list[i].Image {
				names = append(names, name)
			}
		}
	}
	return names
}

func describeMissing(s scene, names []string) string {
	var parts []string
	for _, name := range names {
		c, _ := s.containerStatus(name)
		parts = append(parts, name+" is "+orUnknown(stateText(c)))
	}
	return strings.Join(parts, ", ") + inParentheses(s.waits())
}

// fixed are what a cluster does not let anybody change of a pod that there is.
var fixed = []string{"spec", "name", "namespace", "containers", "initContainers", "volumes", "command", "args", "env", "envFrom", "ports",
	"volumeMounts", "restartPolicy", "imagePullPolicy", "imagePullPolicies", "terminationGracePeriodSeconds", "securityContext", "hostNetwork", "dnsPolicy",
	"serviceAccountName", "lifecycle", "startupProbe", "livenessProbe", "readinessProbe", "nodeName"}

// update reads an update, and refuses what a cluster would refuse.
func (l *loader) update(s *Step, n *yaml.Node) {
	v := &updateVerb{images: map[string]*Image{}, wait: upStarted}
	var what []string
	f := fields{
		"images": func(m *yaml.Node) {
			l.pairs(m, "images", func(key, value *yaml.Node) {
				if name := l.container(key); name != "" {
					image := l.image(value)
					v.images[name] = &image
					what = append(what, "the image of "+name)
				}
			})
		},
		"labels": func(m *yaml.Node) {
			v.labels = l.metadata(m, "labels", validation.IsQualifiedName, validation.IsValidLabelValue)
			what = append(what, "labels")
		},
		"annotations": func(m *yaml.Node) {
			lower := func(key string) []string { return validation.IsQualifiedName(strings.ToLower(key)) }
			v.annotations = l.metadata(m, "annotations", lower, func(string) []string { return nil })
			what = append(what, "annotations")
		},
		"activeDeadlineSeconds": func(d *yaml.Node) {
			v.deadline = l.deadline(d)
			what = append(what, "activeDeadlineSeconds")
		},
		"configMaps": func(m *yaml.Node) {
			l.pairs(m, "configMaps", func(key, value *yaml.Node) {
				if c := l.configMap(key, value); c != nil {
					v.refresh.ConfigMaps = append(v.refresh.ConfigMaps, c)
					what = append(what, "ConfigMap "+key.Value)
				}
			})
		},
		"secrets": func(m *yaml.Node) {
			l.pairs(m, "secrets", func(key, value *yaml.Node) {
				if c := l.secret(key, value); c != nil {
					v.refresh.Secrets = append(v.refresh.Secrets, c)
					what = append(what, "Secret "+key.Value)
				}
			})
		},
		"wait": func(w *yaml.Node) { v.wait = l.word(w, "wait", upStarted, upReady, upNone) },
	}
	mistakes := len(l.found)
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; slices.Contains(fixed, key.Value) {
				l.errorf(key, "a cluster refuses to change %s of a pod that there is: only images, labels, annotations and activeDeadlineSeconds can be changed, and the data of "+
					"ConfigMaps and Secrets; delete the pod to have it anew", key.Value)
				f[key.Value] = func(*yaml.Node) {}
			}
		}
	}
	ok := l.mapping(n, "update", f, later{"resources": "", "ephemeralContainers": ""})
	if ok && len(what) == 0 && len(l.found) == mistakes {
		l.errorf(n, "this changes nothing; name images, labels, annotations, activeDeadlineSeconds, configMaps or secrets")
	}
	switch {
	case l.finally: // it also runs where the steps did not come far
	case !l.isUp:
		l.errorf(n, "there is no pod yet to be updated; up comes first")
	case l.isGone:
		l.errorf(n, "there is no pod any more to be updated; it was deleted before")
	}
	s.do, s.Title = v, "update "+strings.Join(what, ", ")
}

// pairs reads the entries of a mapping with names of the user's own.
func (l *loader) pairs(n *yaml.Node, what string, read func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		l.errorf(n, "%s must be a mapping, not a %s", what, diag.KindName(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		read(n.Content[i], n.Content[i+1])
	}
}

// changes reads keys with their new values; null takes a key away.
func (l *loader) changes(n *yaml.Node, what string, check func(key, value *yaml.Node)) map[string]*string {
	out := map[string]*string{}
	l.pairs(n, what, func(key, value *yaml.Node) {
		check(key, value)
		if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" {
			out[key.Value] = nil
			return
		}
		text := l.text(value)
		out[key.Value] = &text
	})
	return out
}

func (l *loader) metadata(n *yaml.Node, what string, key, value func(string) []string) map[string]*string {
	return l.changes(n, what, func(k, v *yaml.Node) {
		for _, bad := range key(k.Value) {
			l.errorf(k, "%s: Invalid value: %q: %s", what, k.Value, bad)
		}
		for _, bad := range value(v.Value) {
			l.errorf(v, "%s: Invalid value: %q: %s", what, v.Value, bad)
		}
	})
}

// deadline reads activeDeadlineSeconds, which can be set and made shorter.
func (l *loader) deadline(n *yaml.Node) *int64 {
	d := l.integer(n, 1, math.MaxInt32)
	if d == 0 || l.names.pod == nil {
		return nil
	}
	was := l.activeDeadline
	if was == nil {
		was = l.names.pod.Spec.ActiveDeadlineSeconds
	}
	if was != nil && *was < d {
		l.errorf(n, "activeDeadlineSeconds: Invalid value: %d: must be less than or equal to previous value, which is %d", d, *was)
	}
	l.activeDeadline = &d
	return &d
}

// maxData is what the data of a ConfigMap or a Secret may hold, in bytes.
const maxData = 1 << 20

// data reads the changed keys of a ConfigMap or a Secret.
func (l *loader) data(what string, n *yaml.Node) map[string]*string {
	return l.changes(n, what, func(key, _ *yaml.Node) {
		for _, bad := range validation.IsConfigMapKey(key.Value) {
			l.errorf(key, "%s: data: Invalid value: %q: %s", what, key.Value, bad)
		}
	})
}

// configMap reads a ConfigMap's changes, and returns it as it then is. One that the pod refers to need not be there yet.
func (l *loader) configMap(key, n *yaml.Node) *corev1.ConfigMap {
	if l.names.pod == nil {
		return nil
	}
	namespace, what := l.names.pod.Namespace, "ConfigMap "+key.Value
	c := l.now.ConfigMap(namespace, key.Value)
	if c == nil && !l.known(key, "ConfigMap", referred(l.names.pod).configMaps, func(r manifest.Resources) (names []string) {
		for _, c := range r.ConfigMaps {
			names = append(names, c.Name)
		}
		return names
	}) {
		return nil
	}
	if c == nil {
		c = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: key.Value}}
	}
	if c.Immutable != nil && *c.Immutable {
		l.errorf(key, "%s is immutable: a cluster refuses to change its data", what)
	}
	c = c.DeepCopy()
	change := l.data(what, n)
	c.Data = merged(c.Data, change)
	size := 0
	for k, v := range c.Data {
		size += len(v)
		if _, twice := c.BinaryData[k]; twice {
			l.errorf(n, "%s: key %s is in its binaryData already", what, k)
		}
	}
	for _, v := range c.BinaryData {
		size += len(v)
	}
	l.size(n, what, size)
	l.now = l.now.Replace(manifest.Resources{ConfigMaps: []*corev1.ConfigMap{c}})
	return c
}

// secret is configMap for a Secret. Its values are texts, as in stringData.
func (l *loader) secret(key, n *yaml.Node) *corev1.Secret {
	if l.names.pod == nil {
		return nil
	}
	namespace, what := l.names.pod.Namespace, "Secret "+key.Value
	c := l.now.Secret(namespace, key.Value)
	if c == nil && !l.known(key, "Secret", referred(l.names.pod).secrets, func(r manifest.Resources) (names []string) {
		for _, c := range r.Secrets {
			names = append(names, c.Name)
		}
		return names
	}) {
		return nil
	}
	if c == nil {
		c = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: key.Value}, Type: corev1.SecretTypeOpaque}
	}
	if c.Immutable != nil && *c.Immutable {
		l.errorf(key, "%s is immutable: a cluster refuses to change its data", what)
	}
	c = c.DeepCopy()
	if c.Data == nil {
		c.Data = map[string][]byte{}
	}
	for k, v := range l.data(what, n) {
		if v == nil {
			delete(c.Data, k)
		} else {
			c.Data[k] = []byte(*v)
		}
	}
	size := 0
	for _, v := range c.Data {
		size += len(v)
	}
	l.size(n, what, size)
	l.now = l.now.Replace(manifest.Resources{Secrets: []*corev1.Secret{c}})
	return c
}

func (l *loader) size(n *yaml.Node, what string, bytes int) {
	if bytes > maxData {
		l.errorf(n, "%s: data: Too long: may not be more than %d bytes", what, maxData)
	}
}

// known reports whether the pod refers to a ConfigMap or a Secret that is not there yet, and else says what there is.
func (l *loader) known(key *yaml.Node, kind string, referred []string, there func(manifest.Resources) []string) bool {
	if slices.Contains(referred, key.Value) {
		return true
	}
	l.suggest(key, key.Value, append(there(l.now), referred...), "unknown %s %q: neither the pod's file nor spec.resources has it, and the pod does not refer to it", kind, key.Value)
	return false
}

// references are the names of the ConfigMaps and Secrets that a pod refers to.
type references struct{ configMaps, secrets []string }

func referred(p *corev1.Pod) (r references) {
	configMap := func(name string) { r.configMaps = append(r.configMaps, name) }
	secret := func(name string) { r.secrets = append(r.secrets, name) }
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap != nil {
			configMap(v.ConfigMap.Name)
		}
		if v.Secret != nil {
			secret(v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ConfigMap != nil {
				configMap(source.ConfigMap.Name)
			}
			if source.Secret != nil {
				secret(source.Secret.Name)
			}
		}
	}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, from := range list[i].EnvFrom {
				if from.ConfigMapRef != nil {
					configMap(from.ConfigMapRef.Name)
				}
				if from.SecretRef != nil {
					secret(from.SecretRef.Name)
				}
			}
			for _, e := range list[i].Env {
				if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
					configMap(e.ValueFrom.ConfigMapKeyRef.Name)
				}
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					secret(e.ValueFrom.SecretKeyRef.Name)
				}
			}
		}
	}
	return r
}

// madeHere is where the names of images that a scenario makes must be: a name of a registry's would hide its image.
const madeHere = "podsim.local/"

// checkImage reports what an image's source cannot be.
func (l *loader) checkImage(n *yaml.Node, i Image) {
	set := 0
	for _, s := range []string{i.Reference, i.Binary, i.Archive} {
		if s != "" {
			set++
		}
	}
	named := i.Binary != "" && i.Reference != "" && i.Archive == ""
	switch {
	case named && !strings.HasPrefix(i.Reference, madeHere):
		l.errorf(n, "an image that is made of a binary is named %sNAME, not %q", madeHere, i.Reference)
	case named:
	case set != 1:
		l.errorf(n, "want one of reference, binary and archive for an image")
	case strings.TrimSpace(i.Reference) != i.Reference:
		l.errorf(n, "%s", fmt.Sprintf("image: Invalid value: %q: must not have leading or trailing whitespace", i.Reference))
	}
}
