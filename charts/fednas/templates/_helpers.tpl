{{- define "fednas.fullname" -}}
{{- if contains "fednas" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-fednas" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of one component: (list . "operator") */}}
{{- define "fednas.labels" -}}
{{- $top := index . 0 -}}
{{ include "fednas.selector" . }}
app.kubernetes.io/version: {{ $top.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $top.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $top.Chart.Name $top.Chart.Version }}
{{- end -}}

{{- define "fednas.selector" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: fednas
app.kubernetes.io/instance: {{ $top.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The full name of an image: (list . .Values.operator.image) */}}
{{- define "fednas.image" -}}
{{- $top := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $top.Values.global.imageRegistry }}{{ . }}/{{ end -}}
{{- $image.repository }}:{{ $image.tag | default $top.Chart.AppVersion -}}
{{- end -}}

{{- define "fednas.masterKeySecret" -}}
{{- .Values.masterKey.existingSecret | default (printf "%s-master-key" (include "fednas.fullname" .)) -}}
{{- end -}}

{{- define "fednas.minioSecret" -}}
{{- .Values.minio.existingSecret | default (printf "%s-minio" (include "fednas.fullname" .)) -}}
{{- end -}}

{{/* "true" if the operator makes the credentials of the chart's store. */}}
{{- define "fednas.makesStoreSecret" -}}
{{- if and .Values.minio.enabled (not .Values.minio.existingSecret) (not .Values.minio.secretKey) -}}true{{- end -}}
{{- end -}}

{{- define "fednas.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "fednas.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.global.securityContext }}
{{ toYaml . }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "fednas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A mapping as JSON, with those keys of another that are not empty there: (list $mapping $other "key" ...) */}}
{{- define "fednas.given" -}}
{{- $mapping := index . 0 -}}
{{- $other := index . 1 -}}
{{- range $key := slice . 2 -}}
{{- with index $other $key -}}{{- $_ := set $mapping $key . -}}{{- end -}}
{{- end -}}
{{- $mapping | toJson -}}
{{- end -}}

{{/* What fills a search that names no store; "null" if there is none. */}}
{{- define "fednas.storage" -}}
{{- $given := .Values.defaults.storage -}}
{{- $endpoint := $given.endpoint -}}
{{- $secret := $given.secretName -}}
{{- if and .Values.minio.enabled (not $endpoint) -}}
{{- $endpoint = printf "http://%s-minio.%s.svc:9000" (include "fednas.fullname" .) .Release.Namespace -}}
{{- $secret = $secret | default (include "fednas.minioSecret" .) -}}
{{- end -}}
{{- if $endpoint -}}
{{- $storage := dict "endpoint" $endpoint "bucket" $given.bucket "secretName" (required "defaults.storage.secretName is needed with defaults.storage.endpoint" $secret) -}}
{{- include "fednas.given" (list $storage $given "region" "ca") -}}
{{- else -}}
null
{{- end -}}
{{- end -}}

{{- define "fednas.tracking" -}}
{{- $given := .Values.defaults.tracking -}}
{{- $uri := $given.uri -}}
{{- if and .Values.mlflow.enabled (not $uri) -}}
{{- $uri = printf "http://%s-mlflow.%s.svc:5000" (include "fednas.fullname" .) .Release.Namespace -}}
{{- end -}}
{{- if $uri -}}
{{- include "fednas.given" (list (dict "uri" $uri "experiment" $given.experiment) $given "secretName" "ca") -}}
{{- else -}}
null
{{- end -}}
{{- end -}}

{{/* Peers and ports of one of the chart's own servers, unless given: (list . "minio" 9000 .Values.networkPolicy.store URL-given) */}}
{{- define "fednas.egress" -}}
{{- $top := index . 0 -}}
{{- $component := index . 1 -}}
{{- $given := index . 3 -}}
{{- $peers := $given.peers -}}
{{- $ports := $given.ports -}}
{{- if and (index $top.Values $component).enabled (not (index . 4)) (not $peers) -}}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" $top.Release.Namespace) -}}
{{- $pods := dict "matchLabels" (include "fednas.selector" (list $top $component) | fromYaml) -}}
{{- $peers = list (dict "namespaceSelector" $namespace "podSelector" $pods) -}}
{{- $ports = list (index . 2) -}}
{{- end -}}
{{- dict "peers" $peers "ports" $ports | toJson -}}
{{- end -}}

{{/* The operator's settings file. */}}
{{- define "fednas.settings" -}}
{
  "image": {
    "name": {{ include "fednas.image" (list . .Values.runtime.image) | quote }},
    "pullPolicy": {{ .Values.runtime.image.pullPolicy | quote }},
    "pullSecrets": {{ .Values.global.imagePullSecrets | toJson }}
  },
  "defaults": {
    "storage": {{ include "fednas.storage" . }},
    "tracking": {{ include "fednas.tracking" . }},
    "template": {{ mergeOverwrite (dict "securityContext" (.Values.global.securityContext | default dict)) .Values.defaults.template | toJson }}
  },
  "storeEgress": {{ include "fednas.egress" (list . "minio" 9000 .Values.networkPolicy.store .Values.defaults.storage.endpoint) }},
  "trackingEgress": {{ include "fednas.egress" (list . "mlflow" 5000 .Values.networkPolicy.tracking .Values.defaults.tracking.uri) }},
  "allowedEndpoints": {{ .Values.allowedEndpoints | toJson }},
  "dnsEgress": {{ .Values.networkPolicy.dns | toJson }},
  "metricsIngress": {{ .Values.networkPolicy.metrics.peers | toJson }},
  "operator": {
    "namespace": {{ .Release.Namespace | quote }},
    "labels": {{ include "fednas.selector" (list . "operator") | fromYaml | toJson }}
  },
  "pollSeconds": {{ .Values.operator.pollSeconds }}
}
{{- end -}}
