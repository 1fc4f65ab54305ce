package env

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubernetesService stands for the API server, whose variables every pod has (CM-07). Its address is the one that
// most clusters give it; nothing answers there, unless a scenario's stub does.
var kubernetesService = &corev1.Service{
	ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: metav1.NamespaceDefault},
	Spec: corev1.ServiceSpec{
		ClusterIP: "10.96.0.1",
		Ports:     []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}},
	},
}

// serviceVariables are the variables that tell of the Services: those of the pod's namespace, if it has
// enableServiceLinks, and always those of the API server. A Service without a cluster address has none.
func serviceVariables(f Facts) map[string]string {
	services := []*corev1.Service{kubernetesService}
	links := f.Pod.Spec.EnableServiceLinks
	for _, s := range f.Resources.ServicesOf(f.Pod.Namespace) {
		if links == nil || *links {
			services = append(services, s)
		}
	}
	for _, s := range f.Resources.ServicesOf(metav1.NamespaceDefault) {
		if s.Name == kubernetesService.Name {
			services = append(services, s) // the user's own description of it wins
		}
	}
	vars := map[string]string{}
	for _, s := range services {
		if ip := s.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone && len(s.Spec.Ports) > 0 {
			addService(vars, s)
		}
	}
	return vars
}

// addService adds the variables of one Service: the Kubernetes ones, and those of Docker's links.
func addService(vars map[string]string, s *corev1.Service) {
	name, ip := variableName(s.Name), s.Spec.ClusterIP
	vars[name+"_SERVICE_HOST"] = ip
	for i, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		protocol := strings.ToLower(string(p.Protocol))
		url := protocol + "://" + hostPort(ip, port)
		if i == 0 {
			vars[name+"_SERVICE_PORT"] = port
			vars[name+"_PORT"] = url
		}
		if p.Name != "" {
			vars[name+"_SERVICE_PORT_"+variableName(p.Name)] = port
		}
		link := fmt.Sprintf("%s_PORT_%s_%s", name, port, strings.ToUpper(protocol))
		vars[link] = url
		vars[link+"_PROTO"] = protocol
		vars[link+"_PORT"] = port
		vars[link+"_ADDR"] = ip
	}
}

func hostPort(ip, port string) string {
	if strings.Contains(ip, ":") { // IPv6
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}

func variableName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
