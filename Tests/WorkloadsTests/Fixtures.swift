import Kubernetes
import Testing
import Workloads

/// Objects as clusters hold them, cut to what matters.
enum Fixtures {
    /// The object that YAML spells.
    static func object(_ yaml: String) throws -> KubernetesObject {
        try KubernetesObject(JSONValue(yaml: yaml))
    }

    /// The workload of the fixture `name`.
    static func workload(_ name: String) throws -> Workload {
        let object = try object(try #require(all[name]))
        return try #require(WorkloadCatalog.standard.workload(object))
    }

    static let all = jobs.merging(sets) { $1 }.merging(serving) { $1 }

    static let jobs = [
        "job": """
        apiVersion: batch/v1
        kind: Job
        metadata:
          {name: run42, namespace: ml, uid: u-1, resourceVersion: "9", generation: 2,
           labels: {team: a, controller-uid: u-1, job-name: run42},
           annotations: {batch.kubernetes.io/job-tracking: ""}}
        spec:
          parallelism: 4
          completions: 4
          suspend: false
          ttlSecondsAfterFinished: 600
          selector: {matchLabels: {batch.kubernetes.io/controller-uid: u-1}}
          template:
            metadata:
              labels:
                {app: trainer, batch.kubernetes.io/controller-uid: u-1, batch.kubernetes.io/job-name: run42,
                 controller-uid: u-1, job-name: run42}
            spec:
              serviceAccountName: trainer
              imagePullSecrets: [{name: registry}]
              containers:
                - name: t
                  image: t:1
                  env:
                    - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
                    - {name: X, valueFrom: {configMapKeyRef: {name: maybe, key: x, optional: true}}}
                  envFrom: [{configMapRef: {name: settings}}]
              volumes:
                - {name: ckpt, persistentVolumeClaim: {claimName: ckpt}}
                - {name: scratch, ephemeral: {volumeClaimTemplate: {spec: {}}}}
                - {name: conf, projected: {sources: [{configMap: {name: extra}}, {secret: {name: hf}}]}}
        status: {active: 4, ready: 4}
        """,
        "cronjob": """
        apiVersion: batch/v1
        kind: CronJob
        metadata: {name: nightly, namespace: ml}
        spec:
          schedule: "0 2 * * *"
          jobTemplate:
            spec:
              template:
                spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}
        status: {active: [{name: nightly-1}]}
        """,
        "pytorchjob": """
        apiVersion: kubeflow.org/v1
        kind: PyTorchJob
        metadata: {name: bert, namespace: ml}
        spec:
          runPolicy: {ttlSecondsAfterFinished: 60}
          elasticPolicy: {rdzvBackend: c10d}
          pytorchReplicaSpecs:
            Master:
              replicas: 1
              template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]}}
            Worker:
              replicas: 3
              template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]}}
        status:
          conditions: [{type: Running, status: "True"}]
          replicaStatuses: {Master: {active: 1}, Worker: {active: 3}}
        """,
        "mpijob": """
        apiVersion: kubeflow.org/v2beta1
        kind: MPIJob
        metadata: {name: nccl, namespace: ml}
        spec:
          runPolicy: {managedBy: kueue.x-k8s.io/multikueue}
          mpiReplicaSpecs: {Launcher: {template: {spec: {containers: []}}}, Worker: {template: {spec: {containers: []}}}}
        status: {conditions: [{type: Succeeded, status: "True"}]}
        """,
        "rayjob": """
        apiVersion: ray.io/v1
        kind: RayJob
        metadata: {name: tune, namespace: ml, finalizers: [ray.io/rayjob-finalizer, other/one]}
        spec:
          entrypoint: python tune.py
          rayClusterSpec:
            gcsFaultToleranceOptions: {backend: rocksdb, storage: {claimName: gcs}}
            headGroupSpec: {template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: results}}]}}}
            workerGroupSpecs: [{groupName: gpu, template: {spec: {serviceAccountName: ray}}}]
        status: {jobDeploymentStatus: Running, jobStatus: RUNNING, rayClusterName: tune-x7k}
        """,
        "volcano": """
        apiVersion: batch.volcano.sh/v1alpha1
        kind: Job
        metadata: {name: gang, namespace: ml, uid: u-7}
        spec:
          queue: research
          maxRetry: 5
          volumes:
            - {mountPath: /d, volumeClaimName: data}
            - {mountPath: /c, volumeClaimName: gang-pvc-abc, volumeClaim: {accessModes: [ReadWriteOnce]}}
          tasks: [{name: w, replicas: 2, template: {spec: {containers: []}}}]
        status: {state: {phase: Running}, running: 2}
        """,
        "pod": """
        apiVersion: v1
        kind: Pod
        metadata: {name: notebook, namespace: ml, finalizers: [batch.kubernetes.io/job-tracking]}
        spec:
          nodeName: n1
          volumes: [{name: home, persistentVolumeClaim: {claimName: home}}, {name: tmp, ephemeral: {}}]
        status: {phase: Running}
        """,
    ]

    static let sets = [
        "jobset": """
        apiVersion: jobset.x-k8s.io/v1alpha2
        kind: JobSet
        metadata: {name: llm, namespace: ml}
        spec:
          volumeClaimPolicies:
            - templates: [{metadata: {name: ckpt}}, {metadata: {name: logs}}]
          replicatedJobs:
            - name: workers
              replicas: 2
              template: {spec: {template: {spec: {volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}}}
        status:
          conditions: [{type: Suspended, status: "True"}]
          replicatedJobsStatus: [{name: workers, active: 1, suspended: 1}]
        """,
        "trainjob": """
        apiVersion: trainer.kubeflow.org/v1alpha1
        kind: TrainJob
        metadata: {name: sft, namespace: ml}
        spec:
          runtimeRef: {name: torch-distributed}
          initializer: {model: {secretRef: {name: hf}}}
          runtimePatches:
            - manager: kueue.x-k8s.io/manager
              trainingRuntimeSpec: {template: {spec: {replicatedJobs: [{name: node}]}}}
            - manager: me.io/m
              trainingRuntimeSpec:
                template:
                  spec:
                    replicatedJobs:
                      - name: node
                        template:
                          spec:
                            template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]}}
        status: {jobsStatus: [{name: node, active: 2}]}
        """,
        "lws": """
        apiVersion: leaderworkerset.x-k8s.io/v1
        kind: LeaderWorkerSet
        metadata: {name: vllm, namespace: ml}
        spec:
          replicas: 2
          leaderWorkerTemplate:
            size: 3
            workerTemplate: {spec: {serviceAccountName: default, containers: []}}
            volumeClaimTemplates: [{metadata: {name: cache}}]
            persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}
        status: {replicas: 2}
        """,
        "disaggregatedset": """
        apiVersion: disaggregatedset.x-k8s.io/v1
        kind: DisaggregatedSet
        metadata: {name: pd, namespace: ml}
        spec:
          roles:
            - name: prefill
              spec: {replicas: 4, leaderWorkerTemplate: {workerTemplate: {spec: {containers: []}}}}
            - name: decode
              spec: {leaderWorkerTemplate: {workerTemplate: {spec: {containers: []}}}}
            - name: burst
              scaling: {mode: External}
              spec: {leaderWorkerTemplate: {workerTemplate: {spec: {containers: []}}}}
        status: {roleStatuses: [{name: prefill, replicas: 4}]}
        """,
        "statefulset": """
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: qdrant, namespace: ml, labels: {argocd.argoproj.io/instance: rag}}
        spec:
          replicas: 2
          ordinals: {start: 5}
          selector: {matchLabels: {app: qdrant}}
          persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
          template: {spec: {containers: [{name: q, image: q}]}}
          volumeClaimTemplates: [{metadata: {name: store}}]
        status: {replicas: 2}
        """,
        "deployment": """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: ml, annotations: {deployment.kubernetes.io/revision: "3"}}
        spec:
          replicas: 1
          selector: {matchExpressions: [{key: app, operator: In, values: [web]}]}
          template: {spec: {containers: []}}
        status: {replicas: 1, terminatingReplicas: 1}
        """,
    ]

    static let serving = [
        "raycluster": """
        apiVersion: ray.io/v1
        kind: RayCluster
        metadata: {name: shared, namespace: ml}
        spec: {enableInTreeAutoscaling: true, headGroupSpec: {template: {spec: {containers: []}}}}
        status: {conditions: [{type: RayClusterSuspending, status: "True"}]}
        """,
        "rayservice": """
        apiVersion: ray.io/v1
        kind: RayService
        metadata: {name: serve, namespace: ml}
        spec: {rayClusterConfig: {headGroupSpec: {template: {spec: {containers: []}}}}}
        status: {activeServiceStatus: {rayClusterName: serve-a}, pendingServiceStatus: {rayClusterName: serve-b}}
        """,
        "workspace": """
        apiVersion: kaito.sh/v1beta1
        kind: Workspace
        metadata:
          {name: tune-phi, namespace: ml, finalizers: [workspace.finalizer.kaito.sh],
           annotations: {workspace.kaito.io/revision: abc, keep: "1"}}
        resource: {count: 1, instanceType: Standard_NC24ads_A100_v4, labelSelector: {}}
        tuning:
          preset: {name: phi-3, presetOptions: {modelAccessSecret: hf}}
          config: lora
          output: {volumeSource: {persistentVolumeClaim: {claimName: adapters}}, imagePushSecret: push}
        status: {conditions: [{type: WorkspaceSucceeded, status: "True"}]}
        """,
        "inferenceset": """
        apiVersion: kaito.sh/v1beta1
        kind: InferenceSet
        metadata: {name: phi, namespace: ml, annotations: {scaledobject.kaito.sh/auto-provision: "true"}}
        spec: {replicas: 2, template: {inference: {config: vllm, adapters: [{source: {volumeSource: {persistentVolumeClaim: {claimName: lora}}}}]}}}
        status: {replicas: 2}
        """,
        "ragengine": """
        apiVersion: kaito.sh/v1beta1
        kind: RAGEngine
        metadata: {name: rag, namespace: ml}
        spec:
          storage: {persistentVolume: {persistentVolumeClaim: index}}
          embedding: {local: {modelID: m, modelAccessSecret: hf}}
          inferenceService: {accessSecret: llm}
          guardrails: {configMapRef: {name: rails}}
        """,
        "workload": """
        apiVersion: kueue.x-k8s.io/v1beta2
        kind: Workload
        metadata: {name: job-run42-1a2b3, namespace: ml}
        spec: {active: false, queueName: gpu, podSets: [{name: main, template: {spec: {containers: []}}}]}
        status: {conditions: [{type: QuotaReserved, status: "True"}]}
        """,
        "localqueue": """
        apiVersion: kueue.x-k8s.io/v1beta1
        kind: LocalQueue
        metadata: {name: gpu, namespace: ml}
        spec: {clusterQueue: all}
        status: {admittedWorkloads: 2}
        """,
    ]
}
