{{- define "rolecall.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rolecall.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "rolecall.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rolecall.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- /*
name of an object: (dict "root" $ "name" "..." "namespace" "..." "clusterWide" false).
Installations share the namespaces that are not their own, and the cluster, so each has
its own names there. The one in rolecall-system has those of install.yaml.
*/ -}}
{{- define "rolecall.nameIn" -}}
{{- $own := include "rolecall.namespace" .root }}
{{- $elsewhere := or .clusterWide (and .namespace (ne .namespace $own)) }}
{{- $shared := and $elsewhere (ne $own "rolecall-system") }}
{{- .name }}{{ if $shared }}.{{ $own }}{{ end }}
{{- end }}

{{- define "rolecall.reporterName" -}}
{{- printf "%s-reporter" (include "rolecall.fullname" . | trunc 54 | trimSuffix "-") }}
{{- end }}

{{- /* (dict "root" $ "reporter" false): two DaemonSets must not select each other's pods. */ -}}
{{- define "rolecall.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rolecall.name" .root }}{{ if .reporter }}-reporter{{ end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "rolecall.labels" -}}
{{- $ := .root -}}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rolecall.selectorLabels" . }}
app.kubernetes.io/component: {{ if .reporter }}reporter{{ else }}agent{{ end }}
app.kubernetes.io/part-of: rolecall
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /*
metadata of an object: (dict "root" $ "name" "..." "namespace" "..." "reporter" false "labels" dict "annotations" dict "clusterWide" false)
*/ -}}
{{- define "rolecall.metadata" -}}
name: {{ include "rolecall.nameIn" . }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default (include "rolecall.namespace" .root) }}
{{- end }}
labels:
  {{- include "rolecall.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rolecall.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "rolecall.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "rolecall.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}
