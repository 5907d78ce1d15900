package import Kubernetes

/// The GitOps tool that deploys an object, told by the marks that it leaves on it, and what of the tool's own does so.
package struct Deployer: Hashable, Sendable {
    /// Each with the name that users know.
    package enum Tool: String, Sendable {
        case argo = "Argo CD"
        /// Flux, from manifests and by a chart.
        case kustomize = "Flux"
        case helm = "Flux's Helm controller"
    }

    /// Which one.
    package var tool: Tool
    /// The name of its Application, Kustomization or HelmRelease.
    package var name: String
    /// That one's namespace; empty where the mark does not say.
    package var namespace: String

    /// Nil for an object that bears none of their marks, for one that they were told to leave alone, and for one that a
    /// controller made: that may have the marks of what it was made of, and no tool looks at it.
    package init?(of object: KubernetesObject) {
        guard object.controller == nil else { return nil }
        if let application = Self.application(of: object) {
            // An Application of another namespace than Argo CD's own is `NAMESPACE_NAME`.
            let words = application.split(separator: "_", maxSplits: 1).map(String.init)
            tool = .argo
            name = words.last ?? application
            namespace = words.count == 2 ? words[0] : ""
            return
        }
        for (tool, group) in [(Tool.kustomize, "kustomize.toolkit.fluxcd.io"), (.helm, "helm.toolkit.fluxcd.io")] {
            guard let name = object.labels["\(group)/name"] else { continue }
            let annotations = object.annotations
            if annotations["\(group)/reconcile"] == "disabled" || annotations["\(group)/driftDetection"] == "disabled" {
                return nil
            }
            if ["IfNotPresent", "Ignore"].contains(annotations["\(group)/ssa"] ?? "") { return nil }
            self.tool = tool
            self.name = name
            namespace = object.labels["\(group)/namespace"] ?? object.namespace
            return
        }
        return nil
    }

    /// The Application that tracks an object. `app.kubernetes.io/instance`, Argo CD's label by default, is Helm's as well and says
    /// nothing. A tracking id names the object that it is of, `APP:GROUP/KIND:NAMESPACE/NAME`: what was copied from another one
    /// does not count.
    private static func application(of object: KubernetesObject) -> String? {
        if let id = object.annotations["argocd.argoproj.io/tracking-id"] {
            let words = id.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let own = "\(object.group)/\(object.kind):\(object.namespace)/\(object.name)"
            if words.count == 2, words[1] == own { return words[0] }
        }
        return object.labels["argocd.argoproj.io/instance"]
    }

    /// What is to be known of an object that it deploys, as far as the object tells.
    package func finding(_ object: KubernetesObject) -> WorkloadFinding {
        WorkloadFinding(
            .refusal, "gitops",
            "\(object.label) is kept as it is by \(tool.rawValue) (\(name)), which may start it again while it is stopped: suspend that "
                + "first")
    }
}
