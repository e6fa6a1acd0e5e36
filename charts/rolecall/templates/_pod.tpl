{{- /*
The pod template of a DaemonSet: (dict "root" $ "reporter" false). A reporter, of
which there are some in hardened mode, reads no config, may not lead, and has a
token that lasts an hour.
*/ -}}
{{- define "rolecall.podTemplate" -}}
{{- $ := .root -}}
{{- $values := .root.Values -}}
{{- $name := include "rolecall.fullname" $ -}}
{{- $hardened := $values.hardened.enabled -}}
metadata:
  labels:
    {{- include "rolecall.labels" (dict "root" $ "reporter" .reporter) | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := dict }}
  {{- if $values.metrics.annotations }}
  {{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" ($values.metrics.port | toString) "prometheus.io/path" "/metrics" }}
  {{- end }}
  {{- with merge (dict) $values.podAnnotations $values.commonAnnotations $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ if .reporter }}{{ include "rolecall.reporterName" $ }}{{ else }}{{ include "rolecall.serviceAccountName" $ }}{{ end }}
  automountServiceAccountToken: {{ not .reporter }}
  {{- with concat $values.global.imagePullSecrets $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  hostNetwork: {{ $values.hostNetwork }}
  dnsPolicy: {{ $values.dnsPolicy }}
  {{- with $values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # A Service called "rolecall" would else set ROLECALL_PORT and others, which
  # read like the agent's own ROLECALL_<FLAG>.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- $selector := deepCopy $values.nodeSelector }}
  {{- if and $hardened (not .reporter) }}
  {{- $_ := set $selector (include "rolecall.candidateLabel" $) "true" }}
  {{- end }}
  {{- with $selector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "rolecall.affinity" (dict "affinity" $values.affinity "reporter" .reporter) }}
  affinity:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: agent
      image: {{ include "rolecall.image" $ | quote }}
      {{- with $values.image.pullPolicy }}
      imagePullPolicy: {{ . }}
      {{- end }}
      args:
        - agent
        {{- if .reporter }}
        - --report-only
        {{- else }}
        - --config=/etc/rolecall
        {{- include "rolecall.objectArgs" $ | nindent 8 }}
        {{- if $values.statusPage.enabled }}
        - --status-page=127.0.0.1:{{ $values.statusPage.port }}
        {{- end }}
        {{- end }}
        {{- if ne (int $values.metrics.port) 9465 }}
        - --http-address=:{{ $values.metrics.port }}
        {{- end }}
        {{- if ne $values.log.level "info" }}
        - --log-level={{ $values.log.level }}
        {{- end }}
        {{- if ne $values.log.format "auto" }}
        - --log-format={{ $values.log.format }}
        {{- end }}
        {{- with $values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: metrics
          containerPort: {{ $values.metrics.port }}
          {{- if $values.hostNetwork }}
          hostPort: {{ $values.metrics.port }}
          {{- end }}
          protocol: TCP
      livenessProbe:
        {{- merge (dict "httpGet" (dict "path" "/healthz" "port" "metrics")) $values.livenessProbe | toYaml | nindent 8 }}
      readinessProbe:
        {{- merge (dict "httpGet" (dict "path" "/readyz" "port" "metrics")) $values.readinessProbe | toYaml | nindent 8 }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      volumeMounts:
        {{- if .reporter }}
        - name: token
          mountPath: /var/run/secrets/kubernetes.io/serviceaccount
          readOnly: true
        {{- else }}
        # The folder, never a subPath of it: the kubelet doesn't update those.
        - name: config
          mountPath: /etc/rolecall
          readOnly: true
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- if .reporter }}
    # What the kubelet mounts by default is good for a year, as long as the pod is
    # there: EKS extends it. A reporter's lasts an hour. A candidate's must be the
    # long one: it is what mends an aws-auth that locks all kubelets out.
    - name: token
      projected:
        sources:
          - serviceAccountToken:
              path: token
              expirationSeconds: 3600
          - configMap:
              name: kube-root-ca.crt
              items:
                - key: ca.crt
                  path: ca.crt
          - downwardAPI:
              items:
                - path: namespace
                  fieldRef:
                    fieldPath: metadata.namespace
    {{- else }}
    - name: config
      configMap:
        name: {{ $values.existingConfigMap | default $name }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* What the agent and "rolecall status" have to be told of where things are. */ -}}
{{- define "rolecall.objectArgs" -}}
{{- $name := include "rolecall.fullname" . -}}
{{- if ne $name "rolecall" }}
- --daemonset={{ $name }}
{{- end }}
{{- if ne .Values.awsAuth.namespace "kube-system" }}
- --aws-auth-namespace={{ .Values.awsAuth.namespace }}
{{- end }}
{{- if ne .Values.awsAuth.name "aws-auth" }}
- --aws-auth-name={{ .Values.awsAuth.name }}
{{- end }}
{{- end }}

{{- /* The value, with the candidates' nodes left out for a reporter: (dict "affinity" ... "reporter" ...). */ -}}
{{- define "rolecall.affinity" -}}
{{- $affinity := deepCopy .affinity }}
{{- if .reporter }}
{{- $node := $affinity.nodeAffinity | default dict }}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict }}
{{- $terms := list }}
{{- range $required.nodeSelectorTerms | default (list dict) }}
{{- $other := dict "key" (include "rolecall.candidateLabel" $) "operator" "NotIn" "values" (list "true") }}
{{- $terms = append $terms (set . "matchExpressions" (append (.matchExpressions | default list) $other)) }}
{{- end }}
{{- $_ := set $required "nodeSelectorTerms" $terms }}
{{- $_ = set $node "requiredDuringSchedulingIgnoredDuringExecution" $required }}
{{- $_ = set $affinity "nodeAffinity" $node }}
{{- end }}
{{- with $affinity }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* A kubelet may not give its own node a label of this domain: admission plugin NodeRestriction. */ -}}
{{- define "rolecall.candidateLabel" -}}
rolecall.node-restriction.kubernetes.io/candidate
{{- end }}
