{{- define "hookstream.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "hookstream.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "hookstream.labels" -}}
{{ include "hookstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "hookstream.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "hookstream.secretName" -}}
{{ default (include "hookstream.fullname" .) .Values.secret.existing }}
{{- end }}

{{- define "hookstream.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "hookstream.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Ends the rendering with a sentence if values contradict each other. */}}
{{- define "hookstream.validate" -}}
{{- if not .Values.kafka.bootstrapServers }}
{{- fail "kafka.bootstrapServers is empty: name your brokers, such as kafka-1:9092,kafka-2:9092" }}
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "hookstream.fullname" .)) }}
{{- fail (printf "the resources would be named %s: names of Services begin with a letter; set fullnameOverride" (include "hookstream.fullname" .)) }}
{{- end }}
{{- $sasl := hasPrefix "sasl_" .Values.kafka.security }}
{{- if ne $sasl (not (not .Values.kafka.sasl.mechanism)) }}
{{- fail (printf "kafka.security is %s, but kafka.sasl.mechanism is %q" .Values.kafka.security .Values.kafka.sasl.mechanism) }}
{{- end }}
{{- $password := and (include "hookstream.kafkaPassword" .Values) (not .Values.strimzi.users) }}
{{- if and $password (not .Values.kafka.sasl.username) }}
{{- fail "kafka.sasl.mechanism is given, but kafka.sasl.username is empty" }}
{{- end }}
{{- $oauth := .Values.kafka.oauth }}
{{- $mechanism := .Values.kafka.sasl.mechanism }}
{{- if and (ne $mechanism "OAUTHBEARER") (compact (values $oauth)) }}
{{- fail "kafka.oauth is given, but kafka.sasl.mechanism is not OAUTHBEARER" }}
{{- end }}
{{- if and (eq $mechanism "OAUTHBEARER") (not $oauth.tokenFile) (not (and $oauth.tokenUrl $oauth.clientId)) }}
{{- fail "kafka.sasl.mechanism is OAUTHBEARER: set kafka.oauth.tokenUrl and clientId, or tokenFile" }}
{{- end }}
{{- if and $oauth.tokenFile (or $oauth.tokenUrl $oauth.clientId $oauth.scope $oauth.caFile) }}
{{- fail "kafka.oauth.tokenFile is given: remove kafka.oauth.tokenUrl, clientId, scope and caFile" }}
{{- end }}
{{- if ne (eq $mechanism "AWS_MSK_IAM") (not (not .Values.kafka.awsRegion)) }}
{{- fail "kafka.awsRegion goes together with kafka.sasl.mechanism AWS_MSK_IAM" }}
{{- end }}
{{- if and (hasSuffix "plaintext" .Values.kafka.security) (or .Values.kafka.ca.secret .Values.kafka.client.secret) }}
{{- fail (printf "kafka.security is %s, but kafka.ca or kafka.client is given" .Values.kafka.security) }}
{{- end }}
{{- if and (or .Values.strimzi.users (eq .Values.topics.mode "strimzi")) (not .Values.strimzi.cluster) }}
{{- fail "strimzi.cluster is empty: name the Kafka resource" }}
{{- end }}
{{- if .Values.strimzi.users }}
{{- if ne .Values.kafka.sasl.mechanism "SCRAM-SHA-512" }}
{{- fail "strimzi.users is true: kafka.sasl.mechanism must be SCRAM-SHA-512" }}
{{- end }}
{{- if eq .Values.topics.mode "job" }}
{{- fail "strimzi.users is true: no role may create topics; set topics.mode to strimzi or none" }}
{{- end }}
{{- end }}
{{- if .Values.strimzi.users }}
{{- range .Values.inputs }}
{{- if .pattern }}
{{- fail (printf "strimzi.users is true, and the input %s has a pattern: name its topics" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.topics.mode "strimzi") .Values.settings.MAX_EVENT_BYTES }}
{{- fail "topics.mode is strimzi: the topics are declared for the default of MAX_EVENT_BYTES; set topics.mode to none" }}
{{- end }}
{{- if and (not .Values.postgresql) (not .Values.singleProcess) }}
{{- fail "postgresql is false: roles in workloads of their own cannot share SQLite; use PostgreSQL or singleProcess" }}
{{- end }}
{{- $workloads := fromYaml (include "hookstream.workloads" .) }}
{{- if and .Values.singleProcess (gt (int .Values.roles.all.replicas) 1) (not .Values.postgresql) }}
{{- fail "roles.all.replicas is more than 1: that needs PostgreSQL" }}
{{- end }}
{{- if not .Values.secret.existing }}
{{- if not .Values.secret.values.secretKeys }}
{{- fail "secret.existing and secret.values.secretKeys are empty: the key ring must be given (hookstream keys generate)" }}
{{- end }}
{{- if and .Values.postgresql (not .Values.secret.values.databaseUrl) }}
{{- fail "secret.existing and secret.values.databaseUrl are empty, but postgresql is true" }}
{{- end }}
{{- if not .Values.secret.values.adminToken }}
{{- fail "secret.existing and secret.values.adminToken are empty: the API needs the operator's token (openssl rand -hex 24)" }}
{{- end }}
{{- if and .Values.mail.enabled (not .Values.secret.values.smtpUrl) }}
{{- fail "secret.existing and secret.values.smtpUrl are empty, but mail.enabled is true" }}
{{- end }}
{{- if and .Values.egressProxy.enabled (not .Values.secret.values.egressProxy) }}
{{- fail "secret.existing and secret.values.egressProxy are empty, but egressProxy.enabled is true" }}
{{- end }}
{{- if and .Values.schemaRegistry.username (not .Values.secret.values.schemaRegistryPassword) }}
{{- fail "secret.existing and secret.values.schemaRegistryPassword are empty, but schemaRegistry.username is given" }}
{{- end }}
{{- if and $oauth.tokenUrl (not .Values.secret.values.kafkaOauthClientSecret) }}
{{- fail "secret.existing and secret.values.kafkaOauthClientSecret are empty, but kafka.oauth.tokenUrl is given" }}
{{- end }}
{{- if and $password (not .Values.secret.values.kafkaPassword) }}
{{- fail "secret.existing and secret.values.kafkaPassword are empty, but kafka.sasl.mechanism is given" }}
{{- end }}
{{- end }}
{{- if and .Values.mail.enabled (not .Values.mail.from) }}
{{- fail "mail.enabled is true, but mail.from is empty" }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor are both enabled: every pod would be scraped twice" }}
{{- end }}
{{- $known := .Files.Get "files/settings.json" | fromJsonArray }}
{{- range .Values.extraEnv }}
{{- $name := trimPrefix "HOOKSTREAM_" .name }}
{{- if and (hasPrefix "HOOKSTREAM_" .name) (not (has $name $known)) (not (has (trimSuffix "_FILE" $name) $known)) }}
{{- fail (printf "extraEnv: %s is not a setting" .name) }}
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled .Values.ingress.tlsSecret (not .Values.ingress.host) }}
{{- fail "ingress.tlsSecret is given, but ingress.host is empty" }}
{{- end }}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) }}
{{- fail "gateway.enabled is true, but gateway.parentRefs is empty: name the Gateway" }}
{{- end }}
{{- if and (eq .Values.autoscaling.kind "keda") (not .Values.autoscaling.prometheus) }}
{{- fail "autoscaling.kind is keda, but autoscaling.prometheus is empty" }}
{{- end }}
{{- range $name, $workload := $workloads }}
{{- if and $workload.settings (hasKey $workload.settings "MAX_EVENT_BYTES") }}
{{- fail (printf "roles.%s.settings.MAX_EVENT_BYTES: the topics follow it, so that it must be in settings, for all roles" $name) }}
{{- end }}
{{- if $workload.autoscaling }}
{{- if gt (int $workload.autoscaling.min) (int $workload.autoscaling.max) }}
{{- fail (printf "roles.%s.autoscaling.min is more than max" $name) }}
{{- end }}
{{- if not (or $workload.lagTopic $workload.serves) }}
{{- fail (printf "roles.%s.autoscaling: this role is not scaled by its load" $name) }}
{{- end }}
{{- if and $workload.scaled $workload.lagTopic (gt (int $workload.autoscaling.max) (int $.Values.kafka.partitions)) }}
{{- fail (printf "roles.%s.autoscaling.max is more than kafka.partitions (%d)" $name (int $.Values.kafka.partitions)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hookstream.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hookstream.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
