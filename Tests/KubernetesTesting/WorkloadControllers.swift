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
            case ("ray.io", "RayJob"):
                let isSuspended = object["spec", "suspend"] == true
                try? object.set(
                    .string(isSuspended ? "Suspended" : "Running"), at: ["status", "jobDeploymentStatus"])
            default: continue
            }
            state.objects[path] = object
        }
    }
}
