{{/* The settings of a process, as the `env` of its container. Takes root and workload. */}}
{{- define "hookstream.env" -}}
{{- $values := .root.Values }}
{{- $workload := .workload -}}
- {name: HOOKSTREAM_BOOTSTRAP_SERVERS, value: {{ $values.kafka.bootstrapServers | quote }}}
{{- if not $workload.offline }}
- {name: HOOKSTREAM_KAFKA_SECURITY, value: {{ $values.kafka.security | quote }}}
{{- if $values.kafka.ca.secret }}
- {name: HOOKSTREAM_KAFKA_CA_FILE, value: /etc/hookstream/kafka-ca/ca.crt}
{{- end }}
{{- if $values.kafka.client.secret }}
- {name: HOOKSTREAM_KAFKA_CERT_FILE, value: /etc/hookstream/kafka-client/tls.crt}
- {name: HOOKSTREAM_KAFKA_KEY_FILE, value: /etc/hookstream/kafka-client/tls.key}
{{- end }}
{{- if $values.kafka.sasl.mechanism }}
- {name: HOOKSTREAM_KAFKA_SASL_MECHANISM, value: {{ $values.kafka.sasl.mechanism | quote }}}
{{- if $values.strimzi.users }}
- {name: HOOKSTREAM_KAFKA_USERNAME, value: {{ printf "%s-%s" (include "hookstream.fullname" .root) $workload.name | quote }}}
- {name: HOOKSTREAM_KAFKA_PASSWORD_FILE, value: /etc/hookstream/kafka-user/password}
{{- else if include "hookstream.kafkaPassword" $values }}
- {name: HOOKSTREAM_KAFKA_USERNAME, value: {{ $values.kafka.sasl.username | quote }}}
- {name: HOOKSTREAM_KAFKA_PASSWORD_FILE, value: /etc/hookstream/secret/kafka-password}
{{- end }}
{{- with $values.kafka.oauth.tokenUrl }}
- {name: HOOKSTREAM_KAFKA_OAUTH_TOKEN_URL, value: {{ . | quote }}}
{{- end }}
{{- with $values.kafka.oauth.clientId }}
- {name: HOOKSTREAM_KAFKA_OAUTH_CLIENT_ID, value: {{ . | quote }}}
{{- end }}
{{- with $values.kafka.oauth.scope }}
- {name: HOOKSTREAM_KAFKA_OAUTH_SCOPE, value: {{ . | quote }}}
{{- end }}
{{- with $values.kafka.oauth.extensions }}
- {name: HOOKSTREAM_KAFKA_OAUTH_EXTENSIONS, value: {{ . | quote }}}
{{- end }}
{{- with $values.kafka.oauth.caFile }}
- {name: HOOKSTREAM_KAFKA_OAUTH_CA_FILE, value: {{ . | quote }}}
{{- end }}
{{- with $values.kafka.oauth.tokenFile }}
- {name: HOOKSTREAM_KAFKA_OAUTH_TOKEN_FILE, value: {{ . | quote }}}
{{- end }}
{{- if $values.kafka.oauth.tokenUrl }}
- {name: HOOKSTREAM_KAFKA_OAUTH_CLIENT_SECRET_FILE, value: /etc/hookstream/secret/kafka-oauth-client-secret}
{{- end }}
{{- with $values.kafka.awsRegion }}
- {name: HOOKSTREAM_KAFKA_AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
- {name: HOOKSTREAM_TOPIC_PREFIX, value: {{ $values.kafka.topicPrefix | quote }}}
- {name: HOOKSTREAM_PARTITIONS, value: {{ $values.kafka.partitions | toString | quote }}}
- {name: HOOKSTREAM_REPLICATION_FACTOR, value: {{ $values.kafka.replicationFactor | toString | quote }}}
- {name: HOOKSTREAM_DATA_DIR, value: /var/lib/hookstream/data}
- {name: HOOKSTREAM_METRICS_PORT, value: "9400"}
- {name: HOOKSTREAM_STOP_SECONDS, value: {{ $values.stopSeconds | toString | quote }}}
{{- if not $workload.hook }}
- {name: HOOKSTREAM_SECRET_KEYS_FILE, value: /etc/hookstream/secret/secret-keys}
{{- end }}
{{- if and $workload.database $values.postgresql }}
- {name: HOOKSTREAM_DATABASE_URL_FILE, value: /etc/hookstream/secret/database-url}
{{- end }}
{{- if and $workload.mail $values.mail.enabled }}
- {name: HOOKSTREAM_SMTP_URL_FILE, value: /etc/hookstream/secret/smtp-url}
- {name: HOOKSTREAM_MAIL_FROM, value: {{ $values.mail.from | quote }}}
{{- end }}
{{- if and $workload.inputs $values.inputs }}
- {name: HOOKSTREAM_INPUTS, value: /etc/hookstream/inputs/inputs.yaml}
{{- with $values.schemaRegistry.url }}
- {name: HOOKSTREAM_SCHEMA_REGISTRY_URL, value: {{ . | quote }}}
{{- end }}
{{- with $values.schemaRegistry.username }}
- {name: HOOKSTREAM_SCHEMA_REGISTRY_USERNAME, value: {{ . | quote }}}
- {name: HOOKSTREAM_SCHEMA_REGISTRY_PASSWORD_FILE, value: /etc/hookstream/secret/schema-registry-password}
{{- end }}
{{- with $values.schemaRegistry.caFile }}
- {name: HOOKSTREAM_SCHEMA_REGISTRY_CA_FILE, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- if and $workload.sends $values.egressProxy.enabled }}
- {name: HOOKSTREAM_EGRESS_PROXY_FILE, value: /etc/hookstream/secret/egress-proxy}
{{- end }}
{{- if and $values.publicUrl (or $workload.serves $workload.mail) }}
- {name: HOOKSTREAM_PUBLIC_URL, value: {{ $values.publicUrl | quote }}}
{{- end }}
{{- if $workload.serves }}
- {name: HOOKSTREAM_ADMIN_TOKEN_FILE, value: /etc/hookstream/secret/admin-token}
- {name: HOOKSTREAM_API_HOST, value: 0.0.0.0}
- {name: HOOKSTREAM_API_PORT, value: "8080"}
- {name: HOOKSTREAM_API_CONNECTIONS_PER_ADDRESS, value: "0"}
{{- end }}
{{- if and $workload.sends $values.networkPolicy.privateEndpoints }}
- {name: HOOKSTREAM_EGRESS_ALLOW, value: {{ join "," $values.networkPolicy.privateEndpoints | quote }}}
{{- end }}
{{- $settings := dict }}
{{- if $workload.tables }}
{{- $settings = dict "SESSION_TIMEOUT" "45" }}
- name: HOOKSTREAM_INSTANCE_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}
{{- range $name, $value := mergeOverwrite $settings $values.settings (default (dict) $workload.settings) }}
- {name: {{ printf "HOOKSTREAM_%s" $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Not empty if Kafka's login has a user and a password. Takes the values. */}}
{{- define "hookstream.kafkaPassword" -}}
{{- if or (eq .kafka.sasl.mechanism "PLAIN") (hasPrefix "SCRAM-" .kafka.sasl.mechanism) }}yes{{ end }}
{{- end }}

{{/* The secret's keys that a process needs, mounted as files. Takes root and workload. */}}
{{- define "hookstream.secretItems" -}}
{{- if not .workload.hook }}
- {key: {{ .root.Values.secret.keys.secretKeys | quote }}, path: secret-keys}
{{- end }}
{{- if and (include "hookstream.kafkaPassword" .root.Values) (not .workload.offline) (not .root.Values.strimzi.users) }}
- {key: {{ .root.Values.secret.keys.kafkaPassword | quote }}, path: kafka-password}
{{- end }}
{{- if and .root.Values.kafka.oauth.tokenUrl (not .workload.offline) }}
- {key: {{ .root.Values.secret.keys.kafkaOauthClientSecret | quote }}, path: kafka-oauth-client-secret}
{{- end }}
{{- if and .workload.database .root.Values.postgresql }}
- {key: {{ .root.Values.secret.keys.databaseUrl | quote }}, path: database-url}
{{- end }}
{{- if and .workload.mail .root.Values.mail.enabled }}
- {key: {{ .root.Values.secret.keys.smtpUrl | quote }}, path: smtp-url}
{{- end }}
{{- if and .workload.sends .root.Values.egressProxy.enabled }}
- {key: {{ .root.Values.secret.keys.egressProxy | quote }}, path: egress-proxy}
{{- end }}
{{- if and .workload.inputs .root.Values.inputs .root.Values.schemaRegistry.username }}
- {key: {{ .root.Values.secret.keys.schemaRegistryPassword | quote }}, path: schema-registry-password}
{{- end }}
{{- if .workload.serves }}
- {key: {{ .root.Values.secret.keys.adminToken | quote }}, path: admin-token}
{{- end }}
{{- end }}

{{- define "hookstream.mounts" -}}
- {name: data, mountPath: /var/lib/hookstream}
- {name: tmp, mountPath: /tmp}
{{- if include "hookstream.secretItems" . | trim }}
- {name: secret, mountPath: /etc/hookstream/secret, readOnly: true}
{{- end }}
{{- if and .workload.inputs .root.Values.inputs }}
- {name: inputs, mountPath: /etc/hookstream/inputs, readOnly: true}
{{- end }}
{{- if not .workload.offline }}
{{- if .root.Values.strimzi.users }}
- {name: kafka-user, mountPath: /etc/hookstream/kafka-user, readOnly: true}
{{- end }}
{{- if .root.Values.kafka.ca.secret }}
- {name: kafka-ca, mountPath: /etc/hookstream/kafka-ca, readOnly: true}
{{- end }}
{{- if .root.Values.kafka.client.secret }}
- {name: kafka-client, mountPath: /etc/hookstream/kafka-client, readOnly: true}
{{- end }}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "hookstream.volumes" -}}
{{- if not (and .workload.tables .root.Values.persistence.enabled) }}
- {name: data, emptyDir: {}}
{{- end }}
- {name: tmp, emptyDir: {}}
{{- with include "hookstream.secretItems" . | trim }}
- name: secret
  secret:
    secretName: {{ include "hookstream.secretName" $.root | quote }}
    defaultMode: 0440
    items: {{- . | nindent 6 }}
{{- end }}
{{- if and .workload.inputs .root.Values.inputs }}
- name: inputs
  configMap: {name: {{ include "hookstream.fullname" .root }}-inputs}
{{- end }}
{{- if not .workload.offline }}
{{- if .root.Values.strimzi.users }}
- name: kafka-user # made by Strimzi's user operator
  secret:
    secretName: {{ include "hookstream.fullname" .root }}-{{ .workload.name }}
    defaultMode: 0440
    items: [{key: password, path: password}]
{{- end }}
{{- with .root.Values.kafka.ca }}
{{- if .secret }}
- name: kafka-ca
  secret: {secretName: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with .root.Values.kafka.client }}
{{- if .secret }}
- name: kafka-client
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    items: [{key: {{ .cert | quote }}, path: tls.crt}, {key: {{ .key | quote }}, path: tls.key}]
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What pods of workloads and hooks have in common. */}}
{{- define "hookstream.scheduling" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "hookstream.podSecurity" . | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* The pod of a workload. Takes root and workload. */}}
{{- define "hookstream.pod" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
{{- $workload := .workload }}
metadata:
  labels:
    {{- include "hookstream.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $workload.name }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- if not $values.secret.existing }}
    checksum/secret: {{ toJson $values.secret.values | sha256sum }}
    {{- end }}
    {{- if and $workload.inputs $values.inputs }}
    checksum/inputs: {{ toJson $values.inputs | sha256sum }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "hookstream.serviceAccount" $root | quote }}
  {{- include "hookstream.scheduling" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ add (int $values.stopSeconds) 55 }}
  topologySpreadConstraints:
    {{- if $values.topologySpreadConstraints }}
    {{- range $values.topologySpreadConstraints }}
    - {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- include "hookstream.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $workload.name }}
      {{- end }}
    {{- end }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "hookstream.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $workload.name }}
    {{- end }}
  containers:
    - name: hookstream
      image: {{ include "hookstream.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [run, {{ $workload.name }}]
      env: {{- include "hookstream.env" . | nindent 8 }}
      ports:
        - {name: metrics, containerPort: 9400}
        {{- if $workload.serves }}
        - {name: http, containerPort: 8080}
        {{- end }}
      # The event loop runs. Recovering tables may take longer: the service's own watchdog judges that.
      startupProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      # Longer than the watchdog of the event loop, which writes stacks before it ends the process.
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 9
      {{- if $workload.serves }}
      lifecycle: {preStop: {sleep: {seconds: 5}}} # until proxies send no more requests
      {{- end }}
      {{- with $workload.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "hookstream.containerSecurity" $root | nindent 8 }}
      volumeMounts: {{- include "hookstream.mounts" . | nindent 8 }}
  volumes: {{- include "hookstream.volumes" . | nindent 4 }}
{{- end }}
