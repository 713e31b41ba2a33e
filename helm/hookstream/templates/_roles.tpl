{{/*
The roles, in the order of app/runtime/roles.py; a test compares them.

tables: writes tables to its volume and is a StatefulSet. lagTopic: may be scaled by the lag of its group, in seconds.
The role delay has none: what waits in its topics is mostly not due. sends: opens connections to endpoints.
inputs: reads the file of inputs. optional: is left out where `inputs` is empty.
*/}}
{{- define "hookstream.roles" -}}
intake: {inputs: true, optional: true}
fanout: {tables: true, lagTopic: events.raw}
dispatch: {lagTopic: deliveries, sends: true}
sequencer: {tables: true, lagTopic: deliveries.ordered}
delay: {}
registry: {}
health: {tables: true}
notifier: {mail: true}
replay: {}
projection: {lagTopic: attempts, database: true}
api: {serves: true, database: true, sends: true}
{{- end }}

{{- define "hookstream.singleProcess" -}}
all: {tables: true, sends: true, mail: true, database: true, serves: true, inputs: true}
{{- end }}

{{/* The workloads to render, as YAML: each row of the table with the values of its role. */}}
{{- define "hookstream.workloads" -}}
{{- $table := fromYaml (include (ternary "hookstream.singleProcess" "hookstream.roles" .Values.singleProcess) .) }}
{{- $workloads := dict }}
{{- range $name, $row := $table }}
{{- $given := index $.Values.roles $name }}
{{- if and (ne (toString $given.enabled) "false") (or $.Values.inputs (not $row.optional)) }}
{{- $scaled := and (ne $.Values.autoscaling.kind "none") $given.autoscaling }}
{{- $_ := set $workloads $name (merge (dict "name" $name "scaled" (not (not $scaled))) $row $given) }}
{{- end }}
{{- end }}
{{- toYaml $workloads }}
{{- end }}
