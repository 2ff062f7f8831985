{{- define "tritone.name" -}}
{{- if contains "tritone" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-tritone" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tritone.selector" -}}
app.kubernetes.io/name: tritone
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tritone.labels" -}}
{{ include "tritone.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tritone.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (ternary "cpu" "gpu" (eq .Values.profile "cpu")) }}
{{- end }}

{{/* What a schema cannot say: values that must fit one another. */}}
{{- define "tritone.check" -}}
{{- $v := .Values }}
{{- if and (eq $v.family "indextts2") (not (has $v.profile (list "cpu" "gpu-torch"))) }}
{{- fail (printf "profile: %s does not run indextts2; cpu and gpu-torch do" $v.profile) }}
{{- end }}
{{- if and $v.gateway.enabled (not $v.gateway.keysSecret) (not $v.gateway.open) }}
{{- fail "gateway.keysSecret: empty, and gateway.open is false; name a Secret with keys.json, or open it" }}
{{- end }}
{{- if and $v.gateway.enabled (not $v.gateway.keysSecret) (ne $v.service.type "ClusterIP") }}
{{- fail (printf "gateway.keysSecret: empty; with service.type %s anybody could speak: name a Secret with keys.json" $v.service.type) }}
{{- end }}
{{- if and $v.gateway.enabled $v.tls.secret (eq $v.gateway.placement "pod") }}
{{- fail "gateway.placement: pod; with tls.secret it must be deployment, as certificates name the service" }}
{{- end }}
{{- if and $v.gateway.enabled $v.tls.secret $v.tls.clientCa }}
{{- fail "tls.clientCa: the gateway has no certificate of its own here; set gateway.enabled to false and run one that has" }}
{{- end }}
{{- if and $v.tls.clientCa (not $v.tls.secret) }}
{{- fail "tls.clientCa: true, and tls.secret is empty; name the Secret, with ca.crt in it" }}
{{- end }}
{{- if lt (int $v.autoscaling.maxReplicas) (int $v.autoscaling.minReplicas) }}
{{- fail (printf "autoscaling.maxReplicas: %d is below autoscaling.minReplicas, %d" (int $v.autoscaling.maxReplicas) (int $v.autoscaling.minReplicas)) }}
{{- end }}
{{- end }}

{{- define "tritone.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.runAsUser }}
runAsGroup: {{ .Values.podSecurity.runAsUser }}
fsGroup: {{ .Values.podSecurity.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tritone.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The launcher's command line, after the image's entry point. */}}
{{- define "tritone.arguments" -}}
{{- $v := .Values -}}
- --profile={{ $v.profile }}
- --threads={{ $v.server.threads }}
- --start-timeout={{ $v.server.startTimeoutSeconds }}
- --exit-timeout-secs={{ $v.server.exitTimeoutSeconds }}
- --set={{ $v.family }}.max_first_audio_seconds={{ $v.server.maxFirstAudioSeconds }}
{{- if $v.server.maxStreams }}
- --set={{ $v.family }}.max_streams={{ $v.server.maxStreams }}
{{- end }}
{{- range $name, $value := $v.server.settings }}
- {{ printf "--set=%s=%v" $name $value | quote }}
{{- end }}
{{- if $v.tls.secret }}
- --tls-cert=/tls/tls.crt
- --tls-key=/tls/tls.key
- --http-address=0.0.0.0
{{- if $v.tls.clientCa }}
- --tls-client-ca=/tls/ca.crt
{{- end }}
{{- end }}
{{- if $v.adminKey.secret }}
- {{ printf "--admin-key-file=/admin/%s" $v.adminKey.key | quote }}
{{- end }}
{{- range $v.server.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- if $v.server.maxConnectionAgeSeconds }}
- "--"
- --grpc-max-connection-age={{ mul $v.server.maxConnectionAgeSeconds 1000 }}
{{- end }}
{{- end }}

{{- define "tritone.model" -}}
{{- if eq .Values.model.source "image" }}{{ .Values.model.path }}{{ else }}/model{{ end }}
{{- end }}

{{/* A quantity of Kubernetes as a number. */}}
{{- define "tritone.number" -}}
{{- $units := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- $unit := regexFind "[A-Za-z]*$" . }}
{{- mulf (trimSuffix $unit . | float64) (get $units $unit) }}
{{- end }}

{{/* Where nothing else is said: one stream of each family fits (docs/serving.md), and /dev/shm. */}}
{{- define "tritone.resources" -}}
{{- $gpu := ne .Values.profile "cpu" }}
{{- $memory := dict "cosyvoice2" "6Gi" "cosyvoice3" "6Gi" "indextts2" "12Gi" }}
{{- $usual := dict "requests" (dict "cpu" "2" "memory" (get $memory .Values.family)) "limits" (dict "memory" (get $memory .Values.family)) }}
{{- $given := mustMergeOverwrite $usual (deepCopy .Values.server.resources) }}
{{- range $name, $limit := $given.limits }}
{{- $request := get $given.requests $name }}
{{- if and $request (lt (include "tritone.number" (toString $limit) | float64) (include "tritone.number" (toString $request) | float64)) }}
{{- if hasKey ($.Values.server.resources.requests | default dict) $name }}
{{- fail (printf "server.resources.limits.%s: %v is below the request, %v" $name $limit $request) }}
{{- end }}
{{- $_ := set $given.requests $name $limit }}
{{- end }}
{{- end }}
{{- if and $gpu (eq .Values.gpu.allocation "plugin") }}
{{- $_ := set $given.limits .Values.gpu.resource 1 }}
{{- end }}
{{- if and $gpu (eq .Values.gpu.allocation "claim") }}
{{- $_ := set $given "claims" (list (dict "name" "gpu")) }}
{{- end }}
{{- toYaml $given -}}
{{- end }}

{{- define "tritone.gatewayContainer" -}}
{{- $v := .Values -}}
name: gateway
image: {{ include "tritone.image" . | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
command: [tritone, gateway]
args:
{{- if eq $v.gateway.placement "pod" }}
  - --backend=127.0.0.1:8001
{{- else }}
{{- range $v.gateway.backends | default (list (printf "%s:8001" (include "tritone.name" .))) }}
  - {{ printf "--backend=%s" . | quote }}
{{- end }}
{{- end }}
  - --address=0.0.0.0
{{- if $v.gateway.keysSecret }}
  - --keys=/keys/keys.json
{{- else }}
  - --open
{{- end }}
{{- if $v.voices.claim }}
  - --voices=/var/lib/tritone/voices
{{- end }}
{{- if and $v.tls.secret (eq $v.gateway.placement "deployment") }}
  - --ca=/tls/ca.crt
{{- end }}
{{- range $name, $voice := $v.gateway.voiceAliases }}
  - {{ printf "--voice-alias=%s=%s" $name $voice | quote }}
{{- end }}
{{- range $v.gateway.extraArgs }}
  - {{ . | quote }}
{{- end }}
{{- with include "tritone.model" . }}
env:
  - {name: TRITONE_MODEL, value: {{ . | quote }}}
{{- end }}
ports:
  - {name: gateway, containerPort: 8080}
readinessProbe:
  httpGet: {path: /health/ready, port: 8080}
  periodSeconds: 5
  timeoutSeconds: 4
livenessProbe:
  httpGet: {path: /health/live, port: 8080}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
securityContext:
  {{- include "tritone.confined" . | nindent 2 }}
resources:
  {{- toYaml $v.gateway.resources | nindent 2 }}
volumeMounts:
  - {name: gateway-tmp, mountPath: /tmp}
  - {name: gateway-cache, mountPath: /var/cache/tritone}
{{- if ne $v.model.source "image" }}
  - {name: model, mountPath: /model, readOnly: true{{ if and (eq $v.model.source "pvc") $v.model.path }}, subPath: {{ $v.model.path | quote }}{{ end }}}
{{- end }}
{{- if $v.gateway.keysSecret }}
  - {name: keys, mountPath: /keys, readOnly: true}
{{- end }}
{{- if $v.voices.claim }}
  - {name: voices, mountPath: /var/lib/tritone/voices}
{{- end }}
{{- if and $v.tls.secret (eq $v.gateway.placement "deployment") }}
  - {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
{{- end }}

{{/* Volumes that the server and the gateway have alike. */}}
{{- define "tritone.volumes" -}}
{{- $v := .Values }}
{{- if eq $v.model.source "pvc" }}
- name: model
  persistentVolumeClaim: {claimName: {{ $v.model.claim | quote }}, readOnly: true}
{{- else if eq $v.model.source "hostPath" }}
- name: model
  hostPath: {path: {{ $v.model.path | quote }}, type: Directory}
{{- else if eq $v.model.source "initImage" }}
- name: model
  emptyDir: {sizeLimit: {{ $v.model.sizeLimit }}}
{{- end }}
{{- if $v.voices.claim }}
- name: voices
  persistentVolumeClaim: {claimName: {{ $v.voices.claim | quote }}}
{{- end }}
{{- if $v.tls.secret }}
- name: tls
  secret: {secretName: {{ $v.tls.secret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "tritone.gatewayVolumes" -}}
- {name: gateway-tmp, emptyDir: {sizeLimit: 1Gi}}
- {name: gateway-cache, emptyDir: {sizeLimit: 1Gi}}
{{- if .Values.gateway.keysSecret }}
- name: keys
  secret: {secretName: {{ .Values.gateway.keysSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "tritone.modelCopy" -}}
name: model
image: {{ .Values.model.image | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [cp, -r, /model/., /copy/]
securityContext:
  {{- include "tritone.confined" . | nindent 2 }}
volumeMounts:
  - {name: model, mountPath: /copy}
{{- end }}
