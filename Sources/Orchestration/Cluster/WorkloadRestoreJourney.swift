package import Kubernetes
package import Repository
internal import RepositoryFormat
internal import Workloads

/// Restores a workload of a snapshot to a cluster: its namespace, its claims, their data by movers, verified, what it
/// needs, and last itself, so that it begins with all of its data.
///
/// A restore that ended early is gone on with by running it again: claims say whose data they wait for.
package struct WorkloadRestoreJourney: Sendable {
    /// What to restore, and how.
    package struct Request: Sendable {
        package var snapshot: String
        /// Other names for namespaces.
        package var namespaces: [String: String] = [:]
        /// Other names for storage classes; an empty one means the cluster's default class.
        package var storageClasses: [String: String] = [:]
        /// Movers at once.
        package var movers = 8
        package var settings: MoverSettings
        package var access: MoverAccess

        package init(snapshot: String, settings: MoverSettings, access: MoverAccess) {
            self.snapshot = snapshot
            self.settings = settings
            self.access = access
        }
    }

    /// What came of it.
    package struct Result: Sendable {
        package var snapshot: String
        /// `train/jobs.batch/run42`, as it is called now.
        package var workload: String
        package var volumes: [(claim: String, result: MoverResult)] = []
        /// What was created beside claims: `ConfigMap train/settings`.
        package var created: [String] = []
        package var remarks: [String] = []
        /// Whether something could not be restored as it was.
        package var isPartial: Bool { volumes.contains { $0.result.status == .partial } }
    }

    private let client: KubernetesClient
    private let request: Request
    private let open: @Sendable () async throws -> Repository
    private let tell: @Sendable (MoverEvent) -> Void

    /// `open` opens the repository with a key of the role `full`, each time as it is then; `moving` is told of what movers
    /// come to, from any task.
    package init(
        _ client: KubernetesClient, _ request: Request, open: @escaping @Sendable () async throws -> Repository,
        moving: @escaping @Sendable (MoverEvent) -> Void
    ) {
        self.client = client
        self.request = request
        self.open = open
        tell = moving
    }

    /// Runs it.
    package func run() async throws(JourneyError) -> Result {
        try await JourneyError.mapping {
            let repository = try await open()
            let listed = try await InspectionJourney(repository: repository).snapshot(request.snapshot)
            let archive = try await WorkloadArchive.read(listed, repository)
            let plan = try await RestorePlanner(client: client, request: request).plan(archive)
            try await createNamespace(plan)
            var result = Result(snapshot: archive.snapshot, workload: plan.reference, remarks: plan.remarks)
            for claim in plan.claims { try await createClaim(claim) }
            if !plan.pending.isEmpty { result.volumes = try await restoreVolumes(plan) }
            for object in plan.objects { try await create(object, &result) }
            _ = try await client.create(plan.workload.resource, plan.workload.object)
            result.created.append(plan.workload.object.label)
            return result
        }
    }

    private func createNamespace(_ plan: RestorePlanner.Plan) async throws {
        if try await client.find(.namespaces, name: plan.namespace.name) == nil {
            do throws(KubernetesError) {
                _ = try await client.create(.namespaces, plan.namespace)
            } catch {
                guard error.code == .alreadyExists || error.isAmbiguous else { throw error }
            }
        }
        // Pods need it, and the controller that makes it takes a moment.
        _ = try await client.wait(
            for: .serviceAccounts, namespace: plan.namespace.name, name: "default", seconds: 60, what: "there"
        ) { $0 }
    }

    private func createClaim(_ claim: KubernetesObject) async throws {
        do throws(KubernetesError) {
            _ = try await client.create(.persistentVolumeClaims, claim)
        } catch {
            guard error.isAmbiguous else { throw error }
            _ = try await client.get(.persistentVolumeClaims, namespace: claim.namespace, name: claim.name)
        }
    }

    private func restoreVolumes(
        _ plan: RestorePlanner.Plan
    ) async throws -> [(claim: String, result: MoverResult)] {
        let movers = MoverRun.Request(
            namespace: plan.namespace.name, settings: request.settings, access: request.access, role: .full, open: open)
        let (client, atOnce) = (client, request.movers)
        return try await MoverRun.with(client, movers, report: tell) { run in
            try await withThrowingTaskGroup(of: (claim: String, result: MoverResult).self) { group in
                var done: [(claim: String, result: MoverResult)] = []
                for (index, volume) in plan.pending.enumerated() {
                    if index >= atOnce, let ended = try await group.next() { done.append(ended) }
                    group.addTask {
                        let result = try await run.move(
                            .restore(snapshot: plan.snapshot, path: volume.path), claim: volume.claim,
                            placement: volume.placement)
                        // Data is whole from here on, whatever happens to the rest.
                        _ = try await client.patch(
                            .persistentVolumeClaims, namespace: plan.namespace.name, name: volume.claim,
                            .merge(["metadata": ["annotations": [RestoredObject.pending: .null]]]))
                        return (volume.claim, result)
                    }
                }
                for try await ended in group { done.append(ended) }
                return done.sorted { $0.claim < $1.claim }
            }
        }
    }

    /// Creates what the workload needs; what is there stays as it is.
    private func create(_ planned: RestorePlanner.Planned, _ result: inout Result) async throws {
        do throws(KubernetesError) {
            _ = try await client.create(planned.resource, planned.object)
            result.created.append(planned.object.label)
        } catch {
            guard error.code == .alreadyExists || error.isAmbiguous else { throw error }
            result.remarks.append("\(planned.object.label) is there already and stays as it is")
        }
    }
}
