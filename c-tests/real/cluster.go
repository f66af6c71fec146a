// What a Kubernetes API server would say of deploy/, as far as its own packages tell: the types of its API, decoded strictly,
// and the language and functions of its admission policies.
//
// usage: cluster validate              YAML documents on standard input; each must be of a known kind and have no unknown field
//
//	cluster mutate POLICY         a pod on standard input; the pod as the policy leaves it, or "unmatched: CONDITION"
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	jsonpatch "github.com/evanphx/json-patch"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"google.golang.org/protobuf/types/known/structpb"
	admission "k8s.io/api/admissionregistration/v1alpha1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// The policies of v1, in Kubernetes 1.36, have the fields that those of v1alpha1 have here, in 1.32.
var kinds = map[string]func() any{
	"v1 Namespace":          func() any { return &core.Namespace{} },
	"v1 Pod":                func() any { return &core.Pod{} },
	"apps/v1 Deployment":    func() any { return &apps.Deployment{} },
	"apps/v1 StatefulSet":   func() any { return &apps.StatefulSet{} },
	"apps/v1 DaemonSet":     func() any { return &apps.DaemonSet{} },
	"batch/v1 Job":          func() any { return &batch.Job{} },
	group + "Policy":        func() any { return &admission.MutatingAdmissionPolicy{} },
	group + "PolicyBinding": func() any { return &admission.MutatingAdmissionPolicyBinding{} },
}

const group = "admissionregistration.k8s.io/v1 MutatingAdmission"

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

// As the API server decodes: no field twice, none that is unknown, and case matters.
func decode(document []byte, object any) error {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	unknown, err := strict.UnmarshalStrict(text, object)
	return errors.Join(append(unknown, err)...)
}

func validate(input []byte) {
	for _, document := range bytes.Split(input, []byte("\n---\n")) {
		var kind struct{ APIVersion, Kind string }
		check("no YAML", yaml.Unmarshal(document, &kind))
		name := kind.APIVersion + " " + kind.Kind
		object := kinds[name]
		if object == nil {
			check(name, errors.New("no kind that is known here"))
		}
		check(name, decode(document, object()))
		fmt.Println(name)
	}
}

// Lets an expression make values of the types JSONPatch and Object, and of the types of its fields: any field, of any type.
type provider struct{ types.Provider }

func isOurs(name string) bool {
	return name == "JSONPatch" || name == "Object" || strings.HasPrefix(name, "Object.")
}

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if isOurs(name) {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	known := map[string]bool{"op": true, "path": true, "from": true, "value": true}
	if name == "JSONPatch" && !known[field] {
		return nil, false
	}
	if isOurs(name) {
		return &types.FieldType{Type: types.DynType}, true
	}
	return p.Provider.FindStructFieldType(name, field)
}

func (p provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if isOurs(name) {
		return types.DefaultTypeAdapter.NativeToValue(fields)
	}
	return p.Provider.NewValue(name, fields)
}

// As the API server has it: types are checked, and the elements of a list or a map are of one type.
type evaluator struct {
	options []cel.EnvOption
	values  map[string]any
}

func (e *evaluator) evaluate(what, expression string) (ref.Val, *cel.Type) {
	env, err := cel.NewEnv(e.options...)
	check(what, err)
	ast, issues := env.Compile(expression)
	check(what, issues.Err())
	program, err := env.Program(ast)
	check(what, err)
	value, _, err := program.Eval(e.values)
	check(what, err)
	return value, ast.OutputType()
}

func asJSON(what string, value ref.Val) []byte {
	native, err := value.ConvertToNative(reflect.TypeOf(&structpb.Value{}))
	check(what, err)
	text, err := native.(*structpb.Value).MarshalJSON()
	check(what, err)
	return text
}

func mutate(file string, input []byte) {
	text, err := os.ReadFile(file)
	check("policy", err)
	var policy admission.MutatingAdmissionPolicy
	check("policy", decode(text, &policy))
	var object any
	check("pod", yaml.Unmarshal(input, &object))
	registry, err := types.NewRegistry()
	check("types", err)
	e := &evaluator{
		options: []cel.EnvOption{
			cel.CustomTypeProvider(provider{registry}),
			cel.HomogeneousAggregateLiterals(),
			cel.EagerlyValidateDeclarations(true),
			cel.Variable("object", cel.DynType),
		},
		values: map[string]any{"object": object},
	}
	for _, condition := range policy.Spec.MatchConditions {
		if value, _ := e.evaluate(condition.Name, condition.Expression); value != types.True {
			fmt.Printf("unmatched: %s\n", condition.Name)
			return
		}
	}
	for _, variable := range policy.Spec.Variables {
		value, kind := e.evaluate(variable.Name, variable.Expression)
		name := "variables." + variable.Name
		e.options = append(e.options, cel.Variable(name, kind))
		e.values[name] = value
	}
	pod, err := yaml.YAMLToJSON(input)
	check("pod", err)
	for _, mutation := range policy.Spec.Mutations {
		if mutation.PatchType != admission.PatchTypeJSONPatch {
			check("mutation", errors.New("no JSONPatch"))
		}
		value, kind := e.evaluate("patch", mutation.JSONPatch.Expression)
		if kind.String() != "list(JSONPatch)" {
			check("patch", fmt.Errorf("%v is no list(JSONPatch)", kind))
		}
		patch, err := jsonpatch.DecodePatch(asJSON("patch", value))
		check("patch", err)
		pod, err = patch.Apply(pod)
		check("patch", err)
	}
	var pretty bytes.Buffer
	check("pod", json.Indent(&pretty, pod, "", " "))
	fmt.Println(pretty.String())
}

func main() {
	input, err := io.ReadAll(os.Stdin)
	check("stdin", err)
	switch os.Args[1] {
	case "validate":
		validate(input)
	case "mutate":
		mutate(os.Args[2], input)
	}
}
