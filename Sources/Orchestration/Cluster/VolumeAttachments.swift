internal import Kubernetes

/// Where volumes are attached (storage.k8s.io/v1), which outlasts the pods that used them: a volume for one node at a time
/// must be taken from that node before another can have it, which takes minutes where the node is gone.
struct VolumeAttachments: Sendable {
    /// Nodes by volume.
    private let nodes: [String: String]

    /// As they are now. Who may not read them does without, and so does a server that has none.
    init(_ client: KubernetesClient) async throws {
        guard let resource = try await client.resource(group: "storage.k8s.io", kind: "VolumeAttachment") else {
            self.init([])
            return
        }
        var attachments: [KubernetesObject] = []
        do throws(KubernetesError) {
            attachments = try await client.list(resource).items
        } catch {
            guard error.code == .forbidden else { throw error }
        }
        self.init(attachments)
    }

    /// Those that are attached. Pure.
    init(_ attachments: [KubernetesObject]) {
        var nodes: [String: String] = [:]
        for attachment in attachments where attachment["status", "attached"]?.bool == true {
            guard let volume = attachment["spec", "source", "persistentVolumeName"]?.string,
                let node = attachment["spec", "nodeName"]?.string
            else { continue }
            nodes[volume] = node
        }
        self.nodes = nodes
    }

    /// The node that a claim's volume is attached to; nil for none.
    func node(of claim: KubernetesObject) -> String? { claim["spec", "volumeName"]?.string.flatMap { nodes[$0] } }
}
