internal import Kubernetes
internal import Repository
internal import Snapshots

/// A workload as a snapshot has it.
struct WorkloadArchive: Sendable {
    /// Which snapshot.
    var snapshot: String
    var description: WorkloadDescription
    /// Every object, by its path below `resources`: `jobs.batch/namespaces/train/run42.json`.
    var objects: [(resource: String, object: KubernetesObject)] = []

    /// Bytes of objects that are taken into memory.
    private static let mostBytes = 256 << 20

    /// Reads it. Throws `no_workload` for a snapshot of something else.
    static func read(_ listed: ListedSnapshot, _ repository: Repository) async throws -> WorkloadArchive {
        let journey = InspectionJourney(repository: repository)
        let described: [InspectionJourney.File]
        do throws(JourneyError) {
            described = try await journey.files(
                of: listed, below: WorkloadBackupJourney.description, atMost: 64 << 20)
        } catch {
            guard error.kind == "not_found" else { throw error }
            throw JourneyError(
                .failed, kind: "no_workload",
                "snapshot \(listed.id) is of no workload of a cluster: restore it to a directory with --target",
                cause: error)
        }
        var archive = WorkloadArchive(
            snapshot: "\(listed.id)", description: try WorkloadDescription(parsing: described.first?.content ?? []))
        for file in try await journey.files(of: listed, below: ["resources"], atMost: mostBytes) {
            let path = file.path.map { String(decoding: $0, as: UTF8.self) }
            guard path.count >= 4, path.last?.hasSuffix(".json") == true else { continue }
            do throws(KubernetesObject.Malformed) {
                archive.objects.append((path[1], try KubernetesObject(parsing: file.content)))
            } catch {
                throw JourneyError(
                    .integrity, kind: "damaged", "\(path.joined(separator: "/")) of the snapshot is no object: \(error)"
                )
            }
        }
        return archive
    }

    /// The objects of a kind, as resources name it.
    func objects(_ resource: String) -> [KubernetesObject] {
        objects.filter { $0.resource == resource }.map(\.object)
    }
}
