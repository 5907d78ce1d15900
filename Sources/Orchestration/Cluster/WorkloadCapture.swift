package import Kubernetes
package import Workloads

/// Writes down a workload of a cluster: its objects and what they refer to, laid out as Velero lays out a backup, and what
/// ran where, for the day on which it is to run elsewhere.
package struct WorkloadCapture: Sendable {
    /// What is written down.
    package struct Options: Sendable {
        /// Secrets, too: then who can read the snapshot can read them.
        package var includesSecrets = false

        package init() {}
    }

    /// A file of a snapshot.
    package struct File: Sendable {
        /// Path components below the snapshot's root.
        package var path: [String]
        package var content: [UInt8]
    }

    /// What was found.
    package struct Objects: Sendable {
        package var files: [File] = []
        /// The workload's claims, as they are, in the order of their names.
        package var claims: [KubernetesObject] = []
        /// What users should know: objects that are missing, secrets that were left out.
        package var remarks: [String] = []
    }

    private let client: KubernetesClient
    private let options: Options

    package init(_ client: KubernetesClient, options: Options = Options()) {
        self.client = client
        self.options = options
    }

    /// The version of Velero's layout.
    package static let layoutVersion = "1.1.0"

    // MARK: Objects

    /// The workload's object as it is now, its namespace, and all that it refers to as far as it is there. `claims` are those
    /// that were found while its pods ran: once it is stopped, what only pods told of cannot be found any more. Throws what the
    /// cluster refuses: what could not be read would be missing on the day of the restore. What is the cluster's own is only
    /// remarked: who may back up a namespace need not be able to read it, and a restore does not make it.
    package func objects(of live: LiveWorkload, claims: [String]) async throws -> Objects {
        var found = Found()
        let now = try await client.get(live.resource, namespace: live.namespace, name: live.object.name)
        found.add(now, live.resource)
        if let namespace = try await clusterOwn(.namespaces, name: live.namespace, &found.objects.remarks) {
            found.add(namespace, .namespaces)
        }
        for name in Set(claims).union(try await live.claims()).sorted() {
            try await addClaim(name, of: live, &found)
        }
        var left = references(of: live)
        var seen: Set<[String]> = []
        while !left.isEmpty {
            let reference = left.removeFirst()
            guard seen.insert([reference.kind.groupResource, reference.namespace, reference.name]).inserted else {
                continue
            }
            left += try await add(reference, of: live, &found)
        }
        let (objects, remarks) = try await poolsAndRoutes(of: live)
        found.objects.remarks += remarks
        for object in objects { found.add(object, try await client.resource(of: object)) }
        return found.objects
    }

    /// Gathers objects, each once.
    private struct Found {
        var objects = Objects()
        private var seen: Set<[String]> = []

        init() {
            let version = Array("\(WorkloadCapture.layoutVersion)\n".utf8)
            objects.files.append(File(path: ["metadata", "version"], content: version))
        }

        mutating func add(_ object: KubernetesObject, _ resource: APIResource) {
            let path = WorkloadCapture.path(of: object, resource)
            guard seen.insert(path).inserted else { return }
            objects.files.append(File(path: path, content: object.serialized()))
        }
    }

    /// Adds a claim, with its volume and its class.
    private func addClaim(_ name: String, of live: LiveWorkload, _ found: inout Found) async throws {
        guard let claim = try await client.find(.persistentVolumeClaims, namespace: live.namespace, name: name) else {
            found.objects.remarks.append("PersistentVolumeClaim \(live.namespace)/\(name) is not there")
            return
        }
        found.add(claim, .persistentVolumeClaims)
        found.objects.claims.append(claim)
        if let volume = claim["spec", "volumeName"]?.string, !volume.isEmpty,
            let volume = try await clusterOwn(.persistentVolumes, name: volume, &found.objects.remarks)
        {
            found.add(volume, .persistentVolumes)
        }
        if let name = claim["spec", "storageClassName"]?.string, !name.isEmpty,
            let classes = try await client.resource(group: "storage.k8s.io", kind: "StorageClass"),
            let object = try await clusterOwn(classes, name: name, &found.objects.remarks)
        {
            found.add(object, classes)
        }
    }

    /// Adds what is referred to, and answers what that refers to in turn: the pods of a TrainJob are its runtime's.
    private func add(
        _ reference: ObjectReference, of live: LiveWorkload, _ found: inout Found
    ) async throws -> [ObjectReference] {
        if reference.kind == .secret, !options.includesSecrets {
            found.objects.remarks.append(
                "Secret \(reference.namespace)/\(reference.name) is left out (--include-secrets takes it): it must be there before a restore"
            )
            return []
        }
        let remarks = found.objects.remarks.count
        guard let (object, resource) = try await referent(reference, &found.objects.remarks) else {
            if !reference.isOptional, found.objects.remarks.count == remarks {
                found.objects.remarks.append(
                    "\(live.object.label) names \(reference.kind.kind) \(reference.name), which is not there")
            }
            return []
        }
        found.add(object, resource)
        guard reference.role == .runtime else { return [] }
        return TrainJob.podTemplates(ofRuntime: object).flatMap { $0.references(namespace: live.namespace) }
    }

    /// The InferencePools that its pods belong to, and the routes to them with the weights that their users gave them. What
    /// may not be read is told of: a restore can do without.
    private func poolsAndRoutes(
        of live: LiveWorkload
    ) async throws -> (objects: [KubernetesObject], remarks: [String]) {
        let (pools, routes) = try await PoolFinder(client).surroundings(of: live)
        var remarks = (pools.refusals + routes.refusals).map {
            "InferencePools of \(live.object.label) and routes to them may be missing in the backup: \($0)"
        }
        for pool in pools.objects {
            guard let picker = InferencePool(pool).endpointPicker else { continue }
            remarks.append(
                "\(pool.label) asks the endpoint picker Service \(picker), which is not in the backup: it must be there after a restore"
            )
        }
        var objects = pools.objects
        for route in routes.objects {
            var route = route
            do throws(WorkloadError) {
                try RouteDrain.openAll(&route)
            } catch {
                remarks.append("\(error.message); it is stored as it is")
            }
            objects.append(route)
        }
        return (objects, remarks)
    }

    /// What it refers to beside claims; a StatefulSet's Service, too, by which its pods have their names.
    private func references(of live: LiveWorkload) -> [ObjectReference] {
        var references = live.workload.references().filter { $0.role != .claim && $0.role != .child }
        if let service = live.object["spec", "serviceName"]?.string, !service.isEmpty,
            live.workload.kind == StatefulSet().kind
        {
            references.append(
                ObjectReference(
                    ResourceKind(kind: "Service", resource: "services"), namespace: live.namespace, name: service,
                    role: .configuration, isOptional: true))
        }
        return references
    }

    /// What is referred to; nil where it is not there, and where it is the cluster's own and may not be read.
    private func referent(
        _ reference: ObjectReference, _ remarks: inout [String]
    ) async throws(KubernetesError) -> (KubernetesObject, APIResource)? {
        guard let resource = try await client.resource(group: reference.kind.group, kind: reference.kind.kind) else {
            return nil
        }
        let object =
            resource.isNamespaced
            ? try await client.find(resource, namespace: reference.namespace, name: reference.name)
            : try await clusterOwn(resource, name: reference.name, &remarks)
        return object.map { ($0, resource) }
    }

    /// An object of the cluster's own; nil where it is not there, and where it may not be read, which is remarked.
    private func clusterOwn(
        _ resource: APIResource, name: String, _ remarks: inout [String]
    ) async throws(KubernetesError) -> KubernetesObject? {
        do throws(KubernetesError) {
            return try await client.find(resource, name: name)
        } catch {
            guard error.code == .forbidden else { throw error }
            remarks.append("\(resource.kind) \(name) is left out, for it may not be read: \(error.message)")
            return nil
        }
    }

    /// `resources/jobs.batch/namespaces/train/run42.json`
    static func path(of object: KubernetesObject, _ resource: APIResource) -> [String] {
        let place = resource.isNamespaced ? ["namespaces", object.namespace] : ["cluster"]
        return ["resources", "\(resource)"] + place + ["\(object.name).json"]
    }

    // MARK: Facts

    /// What ran where: images by digest, nodes with their devices and drivers. To be asked for while it still runs.
    package func facts(of live: LiveWorkload) async throws -> JSONValue {
        let pods = try await live.pods()
        var nodes: [JSONValue] = []
        for name in Set(pods.compactMap { $0["spec", "nodeName"]?.string }).sorted() {
            do throws(KubernetesError) {
                guard let node = try await client.find(.nodes, name: name) else { continue }
                nodes.append(Self.facts(ofNode: node))
            } catch {
                // Nodes are the cluster's: who may back up a namespace need not be able to read them.
                guard error.code == .forbidden else { throw error }
                nodes.append(["name": .string(name), "unread": .string(error.message)])
            }
        }
        let version = try await client.serverVersion()
        return [
            "nodes": .array(nodes), "pods": .array(pods.map(Self.facts(ofPod:))),
            "server": .string(version.text),
        ]
    }

    private static func facts(ofPod pod: KubernetesObject) -> JSONValue {
        let statuses = pod["status", "containerStatuses"]?.array ?? []
        let containers: [JSONValue] = (pod["spec", "containers"]?.array ?? []).map { container in
            let name = container["name"] ?? .null
            let status = statuses.first { $0["name"] == name }
            return members([
                ("image", container["image"]), ("image_id", status?["imageID"]), ("name", name),
                ("resources", container["resources"]), ("restarts", status?["restartCount"]),
            ])
        }
        return members([
            ("containers", .array(containers)), ("name", .string(pod.name)), ("node", pod["spec", "nodeName"]),
            ("phase", pod["status", "phase"]), ("qos", pod["status", "qosClass"]),
            ("runtime_class", pod["spec", "runtimeClassName"]), ("started", pod["status", "startTime"]),
        ])
    }

    /// Labels that say what a node is: those of device plugins and their feature discovery, and the well-known ones.
    private static func isTelling(_ label: String) -> Bool {
        let prefixes = [
            "nvidia.com/", "amd.com/", "gpu.intel.com/", "habana.ai/", "cloud.google.com/gke-",
            "feature.node.kubernetes.io/",
            "topology.kubernetes.io/", "node.kubernetes.io/instance-type", "kubernetes.io/arch", "kubernetes.io/os",
            "karpenter.sh/", "eks.amazonaws.com/", "kubernetes.azure.com/",
        ]
        return prefixes.contains { label.hasPrefix($0) }
    }

    private static func facts(ofNode node: KubernetesObject) -> JSONValue {
        var labels = JSONObject()
        for (key, value) in node.labels.sorted(by: { $0.key < $1.key }) where isTelling(key) {
            labels[key] = .string(value)
        }
        let info = node["status", "nodeInfo"]
        return members([
            ("allocatable", node["status", "allocatable"]), ("architecture", info?["architecture"]),
            ("container_runtime", info?["containerRuntimeVersion"]), ("kernel", info?["kernelVersion"]),
            ("kubelet", info?["kubeletVersion"]), ("labels", .object(labels)), ("name", .string(node.name)),
            ("os", info?["osImage"]),
        ])
    }

    /// An object of those members that are there.
    private static func members(_ members: [(String, JSONValue?)]) -> JSONValue {
        var object = JSONObject()
        for (key, value) in members { if let value, !value.isNull { object[key] = value } }
        return .object(object)
    }
}
