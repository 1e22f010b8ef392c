// Renders the chart with the template engine and the functions that Helm is made of: Go's text/template and Sprig, both from Debian. Helm itself is no package of
// Debian or npm. What Helm adds is here in the words of its documentation: include, tpl, required, toYaml, fromYaml, fromJsonArray, toJson, lookup (which finds
// nothing without a cluster, as in helm template), .Release, .Chart, .Capabilities, values laid over values, keys that are missing are empty.
//
//	render CHART [VALUES...] prints the manifests, each with the file that it comes from.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type values = map[string]interface{}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path string) values {
	text, err := os.ReadFile(path)
	check(err)
	read := values{}
	check(yaml.UnmarshalStrict(text, &read))
	return read
}

// Maps are merged, anything else is replaced; null takes a key away.
func lay(under, over values) values {
	for key, value := range over {
		below, isMap := under[key].(values)
		above, alsoMap := value.(values)
		if value == nil {
			delete(under, key)
		} else if isMap && alsoMap {
			under[key] = lay(below, above)
		} else {
			under[key] = value
		}
	}
	return under
}

func toYaml(value interface{}) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

func functions(all *template.Template) template.FuncMap {
	made := sprig.TxtFuncMap()
	delete(made, "env")
	delete(made, "expandenv")
	execute := func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	made["include"] = execute
	made["tpl"] = func(text string, data interface{}) (string, error) {
		clone, err := all.Clone()
		if err != nil {
			return "", err
		}
		parsed, err := clone.New("tpl").Parse(text)
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = parsed.Execute(&out, data)
		return out.String(), err
	}
	made["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return value, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	made["fail"] = func(message string) (string, error) { return "", fmt.Errorf("%s", message) }
	made["toYaml"] = toYaml
	made["toJson"] = func(value interface{}) string { text, _ := json.Marshal(value); return string(text) }
	made["fromYaml"] = func(text string) values { read := values{}; _ = yaml.Unmarshal([]byte(text), &read); return read }
	made["fromJsonArray"] = func(text string) []interface{} { read := []interface{}{}; _ = json.Unmarshal([]byte(text), &read); return read }
	made["lookup"] = func(string, string, string, string) values { return values{} }
	return made
}

type apiVersions []string

func (known apiVersions) Has(version string) bool {
	for _, each := range known {
		if each == version {
			return true
		}
	}
	return false
}

func main() {
	chart := os.Args[1]
	merged := read(filepath.Join(chart, "values.yaml"))
	for _, file := range os.Args[2:] {
		merged = lay(merged, read(file))
	}
	about := read(filepath.Join(chart, "Chart.yaml"))
	kubernetes := struct{ Version, Major, Minor string }{"v1.32.0", "1", "32"}
	root := values{
		"Values":       merged,
		"Chart":        struct{ Name, Version, AppVersion string }{about["name"].(string), about["version"].(string), about["appVersion"].(string)},
		"Release":      values{"Name": "portreeve", "Namespace": "portreeve", "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
		"Capabilities": struct {
			KubeVersion interface{}
			APIVersions apiVersions
		}{kubernetes, apiVersions{"v1", "apps/v1"}},
	}
	all := template.New("all").Option("missingkey=zero")
	all.Funcs(functions(all))
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	check(err)
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		_, err = all.New(filepath.Base(file)).Parse(string(text))
		check(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		check(all.ExecuteTemplate(&out, name, root))
		text := strings.ReplaceAll(out.String(), "<no value>", "")
		if strings.TrimSpace(text) != "" {
			fmt.Printf("---\n# Source: portreeve/templates/%s\n%s\n", name, strings.TrimSpace(text))
		}
	}
}
