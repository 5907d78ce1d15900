internal import Kubernetes

/// The controllers of workloads.
package enum WorkloadControllers {
    /// Does what controllers would do at once: pods come and go with what is wanted.
    package static func run(_ state: inout ClusterState) {
        for (path, object) in state.objects {
            var object = object
            switch (object.group, object.kind) {
            case ("bus.volcano.sh", "Command"):
                state.objects.removeValue(forKey: path)
                guard let target = object["target", "name"]?.string,
                    let (jobPath, found) = state.objects.first(where: {
                        $0.value.group == "batch.volcano.sh" && $0.value.name == target
                    })
                else { continue }
                var job = found
                let phase = object["action"]?.string == "AbortJob" ? "Aborted" : "Running"
                try? job.set(.string(phase), at: ["status", "state", "phase"])
                state.version += 1
                job.resourceVersion = "\(state.version)"
                state.objects[jobPath] = job
                continue
            case ("batch", "Job"), ("jobset.x-k8s.io", "JobSet"):
                try? object.set(
                    .array([
                        [
                            "type": "Suspended",
                            "status": .string(object["spec", "suspend"] == true ? "True" : "False"),
                        ]
                    ]),
                    at: ["status", "conditions"])
            case ("kubeflow.org", _):
                let isSuspended = object["spec", "runPolicy", "suspend"] == true
                try? object.set(
                    .array([["type": "Suspended", "status": .string(isSuspended ? "True" : "False")]]),
                    at: ["status", "conditions"])
            case ("apps", "StatefulSet"):
                guard object["spec", "replicas"]?.int64 == 0 else { continue }
                for (path, pod) in state.objects
                where pod.kind == "Pod" && pod.ownerReferences.contains(where: { $0.uid == object.uid }) {
                    state.objects.removeValue(forKey: path)
                }
                continue
            case ("apps", "Deployment"):
                if state.playsDeployments { play(object, &state) }
                continue
            case ("ray.io", "RayJob"):
                let isSuspended = object["spec", "suspend"] == true
                try? object.set(
                    .string(isSuspended ? "Suspended" : "Running"), at: ["status", "jobDeploymentStatus"])
            default: continue
            }
            state.objects[path] = object
        }
    }

    private static let looks = "looks"

    /// A list of pods brings them one look nearer to being Ready.
    static func look(_ state: inout ClusterState) {
        for var pod in state.objects.values where pod.kind == "Pod" {
            guard let text = pod.annotations[looks] else { continue }
            let left = (Int(text) ?? 0) - 1
            pod.setAnnotation(looks, left > 0 ? "\(left)" : nil)
            if left <= 0 { try? pod.set(.array([["type": "Ready", "status": "True"]]), at: ["status", "conditions"]) }
            state.store(pod)
        }
    }

    /// The pods that a Deployment wants, and no others.
    private static func play(_ deployment: KubernetesObject, _ state: inout ClusterState) {
        let wanted = Int(deployment["spec", "replicas"]?.int64 ?? 1)
        for index in 0..<16 {
            var pod = KubernetesObject(
                GroupVersionKind(group: "", version: "v1", kind: "Pod"), namespace: deployment.namespace,
                name: "\(deployment.name)-\(index)")
            guard index < wanted else {
                state.remove(state.path(pod))
                continue
            }
            guard state.objects[state.path(pod)] == nil else { continue }
            for member in deployment["spec", "template", "metadata", "labels"]?.object?.members ?? [] {
                pod.setLabel(member.key, member.value.string)
            }
            try? pod.set(deployment["spec", "template", "spec"] ?? [:], at: ["spec"])
            let isReady = state.looksUntilReady == 0
            try? pod.set(
                [
                    "phase": "Running",
                    "conditions": .array([["type": "Ready", "status": isReady ? "True" : "False"]]),
                ], at: ["status"])
            if !isReady { pod.setAnnotation(looks, "\(state.looksUntilReady)") }
            state.store(pod)
        }
    }
}
