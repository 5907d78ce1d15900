package import Kubernetes

extension KubernetesError {
    /// Whether a namespace's ResourceQuota has no room for an object, which passes: the API knows no other sign of that than
    /// these words (Kubernetes, `resourcequota/controller.go`).
    package var isOverQuota: Bool { code == .forbidden && message.contains("exceeded quota") }
}
