package import Kubernetes
package import Repository
internal import RepositoryFormat
internal import Workloads

/// Brings a workload back into a cluster: its namespace and what it refers to, then its claims with their data, read back
/// and compared, and the workload last, so that nothing of it runs before its data is whole.
///
/// One that was interrupted is gone on with by running it again: claims that it had made say whose they are. What is there
/// already and is not its own stays as it is.
package struct WorkloadRestoreJourney: Sendable {
    private let client: KubernetesClient
    private let request: WorkloadRestoreRequest
    private let open: @Sendable () async throws -> Repository
    private let report: @Sendable (WorkloadEvent) -> Void

    /// `open` opens the repository with a key of the role `full`, each time as it is then.
    package init(
        _ client: KubernetesClient, _ request: WorkloadRestoreRequest,
        open: @escaping @Sendable () async throws -> Repository,
        report: @escaping @Sendable (WorkloadEvent) -> Void
    ) {
        self.client = client
        self.request = request
        self.open = open
        self.report = report
    }

    /// Runs it. Throws what the cluster refuses, `target_exists` where a claim or the workload is there already, and what
    /// movers throw.
    package func run() async throws(JourneyError) -> WorkloadRestoreResult {
        try await JourneyError.mapping { try await restore() }
    }

    private func restore() async throws -> WorkloadRestoreResult {
        let repository = try await open()
        let files = try await ObjectFiles(repository: repository, scratch: request.scratch)
            .load(request.snapshot, roots: ["becalm", "metadata", "resources"])
        let document = try WorkloadDocument(files, snapshot: "\(request.snapshot)")
        let objects = try Self.objects(files)
        let source = document.workload.namespace
        let namespace = request.namespaces[source] ?? source
        var result = WorkloadRestoreResult(workload: "", namespace: namespace)
        let workload = try self.workload(objects, document, namespace)
        let resource = try await client.resource(of: workload.object)
        result.workload = "\(namespace)/\(resource)/\(workload.object.name)"
        guard try await client.find(resource, namespace: namespace, name: workload.object.name) == nil else {
            throw exists(workload.object)
        }
        try await requireClasses(objects)
        try await createNamespace(objects, source, namespace, &result)
        let room = VolumeRoom(repository, request.snapshot, document)
        let claims = try await createClaims(objects, document, room, namespace, &result)
        try await createOthers(objects, workload, namespace, &result)
        for remark in try await MissingReferents(client).remarks(for: workload) { report(.remark(remark)) }
        result.volumes = try await fill(claims, source, namespace, workload)
        for claim in claims { try await finish(claim) }
        result.created.append(try await make(resource, workload.object, &result).label)
        result.remarks += workload.restoreRemarks
        try await createRoutes(objects, source, namespace, &result)
        return result
    }

    private func exists(_ object: KubernetesObject) -> JourneyError {
        JourneyError(
            .failed, kind: "target_exists",
            "\(object.label) is there already, and a restore replaces nothing: delete it first, or restore into another namespace (--namespace-mapping)"
        )
    }

    // MARK: What is in the snapshot

    private static func objects(_ files: [WorkloadCapture.File]) throws -> [KubernetesObject] {
        try files.filter { $0.path.first == "resources" }.map { file in
            do {
                return try KubernetesObject(parsing: file.content)
            } catch {
                throw JourneyError(
                    .integrity, kind: "damaged",
                    "\(file.path.joined(separator: "/")) in the snapshot is no object: \(error)")
            }
        }
    }

    /// The workload, as it is to be created.
    private func workload(
        _ objects: [KubernetesObject], _ document: WorkloadDocument, _ namespace: String
    ) throws -> Workload {
        let name = document.workload.name
        let found = objects.lazy.filter { $0.name == name && $0.namespace == document.workload.namespace }
            .compactMap { WorkloadCatalog.standard.workload($0) }
            .first { $0.kind.groupResource == document.workload.kind }
        guard let found else {
            throw JourneyError(
                .integrity, kind: "damaged", "the snapshot does not hold the object of \(document.workload)")
        }
        if let completion = found.completion, found.adapter.runsToCompletion, !request.restartsEnded {
            throw JourneyError(
                .failed, kind: "workload_ended",
                "\(found.object.label) had ended (\(completion)) when it was backed up and would run once more: restore its data with --target, or take --restart-ended"
            )
        }
        var object = found.object
        object.namespace = namespace
        var workload = Workload(object, found.adapter)
        try workload.prepareForRestore()
        return workload
    }

    // MARK: Objects

    /// Throws `no_storage_class` for a claim whose class the cluster does not have, before anything is created.
    private func requireClasses(_ objects: [KubernetesObject]) async throws {
        guard let resource = try await client.resource(group: "storage.k8s.io", kind: "StorageClass") else { return }
        for claim in objects where claim.kind == "PersistentVolumeClaim" {
            guard let stored = claim["spec", "storageClassName"]?.string, !stored.isEmpty else { continue }
            let name = request.storageClasses[stored] ?? stored
            let found: KubernetesObject?
            do throws(KubernetesError) {
                found = try await client.find(resource, name: name)
            } catch {
                // Classes are the cluster's: who may restore into a namespace need not be able to read them.
                guard error.code == .forbidden else { throw error }
                return
            }
            // A class of volumes that were made by hand has no object: such a volume may be there.
            guard found == nil, claim["spec", "volumeName"]?.string?.hasPrefix("pvc-") ?? false else { continue }
            throw JourneyError(
                .failed, kind: "no_storage_class",
                "\(claim.label) is of the storage class \(name), which the cluster does not have: name another with --storage-class \(stored):NEW"
            )
        }
    }

    private func createNamespace(
        _ objects: [KubernetesObject], _ source: String, _ namespace: String, _ result: inout WorkloadRestoreResult
    ) async throws {
        let stored = objects.first { $0.kind == "Namespace" && $0.name == source }
        do {
            try await create(.namespaces, RestoredObject.namespace(stored, name: namespace), &result)
        } catch let error as KubernetesError where error.code == .forbidden {
            // Namespaces are the cluster's: one that is there can be restored into all the same.
            guard try await client.find(.serviceAccounts, namespace: namespace, name: "default") != nil else {
                throw error
            }
            return
        }
        // Pods need it, and the controller that makes it takes a moment.
        _ = try await client.wait(
            for: .serviceAccounts, namespace: namespace, name: "default", seconds: 120, what: "there"
        ) { $0 }
    }

    /// Creates an object; one that is there stays as it is.
    private func create(
        _ resource: APIResource, _ object: KubernetesObject, _ result: inout WorkloadRestoreResult
    ) async throws {
        do throws(KubernetesError) {
            result.created.append(try await make(resource, object, &result).label)
        } catch {
            guard error.code == .alreadyExists else { throw error }
            result.kept.append(object.label)
        }
    }

    /// Creates an object, and remarks what of it the server does not know. That fails nothing, not even where a pod template
    /// is meant: servers write the defaults of their own version into objects, so nearly all that comes from a newer cluster
    /// has such fields, and a workload without one is more than none.
    private func make(
        _ resource: APIResource, _ object: KubernetesObject, _ result: inout WorkloadRestoreResult
    ) async throws(KubernetesError) -> KubernetesObject {
        let (made, unknown) = try await client.createTelling(resource, object)
        if !unknown.isEmpty {
            let rest = unknown.count > 10 ? " and \(unknown.count - 10) more" : ""
            result.remarks.append(
                "\(object.label) is without \(unknown.prefix(10).joined(separator: ", "))\(rest), which this cluster does not know: its Kubernetes, or the definition of the kind, is another than where it was backed up; see whether it needs them"
            )
        }
        return made
    }

    /// Creates the claims, and answers those that are to be filled. What has no data in the snapshot is made empty, so that
    /// pods find it.
    private func createClaims(
        _ objects: [KubernetesObject], _ document: WorkloadDocument, _ room: VolumeRoom, _ namespace: String,
        _ result: inout WorkloadRestoreResult
    ) async throws -> [KubernetesObject] {
        let stored = objects.filter {
            $0.kind == "PersistentVolumeClaim" && $0.namespace == document.workload.namespace
        }
        var claims: [KubernetesObject] = []
        for name in document.volumes {
            guard let stored = stored.first(where: { $0.name == name }) else {
                throw JourneyError(
                    .integrity, kind: "damaged", "the snapshot has the data of claim \(name) and not its object")
            }
            if let there = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name) {
                guard there.annotations[RestoredObject.restoring] == "\(request.snapshot)" else { throw exists(there) }
                claims.append(there)
                continue
            }
            var claim = try RestoredObject.claim(
                stored, namespace: namespace, classes: request.storageClasses, snapshot: "\(request.snapshot)")
            if let remark = try await room.provide(for: &claim) { result.remarks.append(remark) }
            if claim.annotations[RestoredObject.incomplete] != nil {
                result.remarks.append(
                    "\(claim.label) was not whole when it was backed up (\(RestoredObject.incomplete)): a restore into it had not come to its end"
                )
            }
            claims.append(try await make(.persistentVolumeClaims, claim, &result))
            result.created.append(claim.label)
        }
        for stored in stored where !document.volumes.contains(stored.name) {
            let claim = try RestoredObject.claim(
                stored, namespace: namespace, classes: request.storageClasses, snapshot: nil)
            let created = result.created.count
            try await create(.persistentVolumeClaims, claim, &result)
            guard result.created.count > created else { continue }
            let isLeftOut = document.leftOut.contains(stored.name)
            result.remarks.append(
                "\(claim.label) is empty: "
                    + (isLeftOut
                        ? "its data was left out of the backup, as its annotation \(BecalmAnnotation.volumeBackup) says"
                        : "it had no data when it was backed up"))
        }
        return claims
    }

    /// What the workload refers to. Owners of the workload and things of the cluster's own are not ours to make.
    private func createOthers(
        _ objects: [KubernetesObject], _ workload: Workload, _ namespace: String,
        _ result: inout WorkloadRestoreResult
    ) async throws {
        let evidence: Set = ["Namespace", "PersistentVolume", "PersistentVolumeClaim", "StorageClass"]
        for stored in objects where !evidence.contains(stored.kind) && !ResourceKind.httpRoute.matches(stored) {
            guard !(workload.kind.matches(stored) && stored.name == workload.object.name) else { continue }
            if WorkloadCatalog.standard.adapter(group: stored.group, kind: stored.kind) != nil,
                stored.kind != "LocalQueue",
                stored.kind != "ClusterQueue"
            {
                result.remarks.append("\(stored.label), which owned the workload, is not created")
                continue
            }
            // Tokens are of the cluster that made them.
            if stored.kind == "Secret", stored["type"]?.string == "kubernetes.io/service-account-token" { continue }
            guard let resource = try await client.resourceInAnyVersion(of: stored.groupVersionKind) else {
                result.remarks.append("\(stored.label) is not created: the server does not serve its kind")
                continue
            }
            let object = RestoredObject.plain(stored, namespace: namespace)
            if InferencePool.kinds.contains(where: { $0.matches(stored) }) {
                try await createIfPossible(resource, object, &result)
            } else {
                try await create(resource, object, &result)
            }
        }
    }

    /// Creates what only brings requests to the workload, which is whole without it: what the cluster refuses of it is remarked.
    private func createIfPossible(
        _ resource: APIResource, _ object: KubernetesObject, _ result: inout WorkloadRestoreResult
    ) async throws {
        do {
            try await create(resource, object, &result)
        } catch let error as KubernetesError where [.forbidden, .notFound, .invalid].contains(error.code) {
            result.remarks.append(
                "\(object.label) is not created, so no gateway sends requests through it: \(error.message)")
        }
    }

    /// Routes come last, when there is something for them to lead to. In another namespace one would take its share of the
    /// requests to the workload that it was copied from, where that still serves.
    private func createRoutes(
        _ objects: [KubernetesObject], _ source: String, _ namespace: String, _ result: inout WorkloadRestoreResult
    ) async throws {
        for stored in objects where ResourceKind.httpRoute.matches(stored) {
            guard namespace == source else {
                result.remarks.append(
                    "\(stored.label) is not created in another namespace, where it would take requests from the one that is there: it is in the snapshot, for when the workload is to serve"
                )
                continue
            }
            guard let resource = try await client.resourceInAnyVersion(of: stored.groupVersionKind) else {
                result.remarks.append("\(stored.label) is not created: the server does not serve its kind")
                continue
            }
            try await createIfPossible(resource, RestoredObject.plain(stored, namespace: stored.namespace), &result)
        }
    }

    // MARK: Data

    private func fill(
        _ claims: [KubernetesObject], _ source: String, _ namespace: String, _ workload: Workload
    ) async throws -> [(claim: String, result: MoverResult)] {
        guard !claims.isEmpty else { return [] }
        report(.stage("filling its volumes"))
        let movers = MoverRun.Request(
            namespace: namespace, settings: request.movers, access: request.access, role: .reader, open: open)
        let report = report
        let users = ClaimUsers(workload)
        let snapshot = "\(request.snapshot)"
        let together = try await ClaimBinding(client).groups(of: users, among: claims)
        return try await MoverRun.with(client, movers, report: { report(.mover($0)) }) { run in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for claims in together {
                    group.addTask { try await run.bind(claims, placement: users.placement(of: claims[0])) }
                }
                try await group.waitForAll()
            }
            return try await withThrowingTaskGroup(of: (claim: String, result: MoverResult).self) { group in
                for claim in claims {
                    let path = WorkloadDocument.volumePath(source, claim.name)
                    let placement = users.placement(of: claim.name)
                    group.addTask {
                        let result = try await run.move(
                            .restore(snapshot: snapshot, path: path), claim: claim.name, isBlock: claim.isBlockVolume,
                            placement: placement)
                        return (claim.name, result)
                    }
                }
                var results: [(claim: String, result: MoverResult)] = []
                for try await result in group { results.append(result) }
                return results.sorted { $0.claim < $1.claim }
            }
        }
    }

    /// Says that a claim's data is whole.
    private func finish(_ claim: KubernetesObject) async throws {
        _ = try await client.patch(
            .persistentVolumeClaims, namespace: claim.namespace, name: claim.name,
            .merge(["metadata": ["annotations": [RestoredObject.restoring: .null]]]))
    }
}
