package import Kubernetes

/// Jobs by the clock: suspending one keeps new Jobs from starting; those that run are stopped one by one.
package struct CronJob: WorkloadAdapter {
    package let kind = ResourceKind(group: "batch", kind: "CronJob", resource: "cronjobs")
    package let runsToCompletion = false
    /// A Job that runs is made again only at its next time.
    package let recreatesChildren = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object.isOn("spec", "suspend"),
            ("jobs running", Int64(object["status", "active"]?.array?.count ?? 0)))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["spec", "jobTemplate", "spec", "template"]).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] { [] }
}
