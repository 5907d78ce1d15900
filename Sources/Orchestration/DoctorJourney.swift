package import Basics
package import ObjectStorage
package import Repository
internal import RepositoryFormat

/// Examines what a backup rests on, one thing after the other; what is found is answered, never thrown.
package struct DoctorJourney: Sendable {
    /// One thing that was looked at.
    package struct Finding: Sendable {
        /// How it is.
        package enum Severity: String, Sendable {
            case fine = "ok"
            /// Works, with less safety.
            case warning
            case failed
        }

        /// In a word or two: `store`, `clock`.
        package var name: String
        package var severity: Severity
        /// One line, for people.
        package var message: String
        /// What a command would exit with because of it.
        package var status: ExitStatus

        package init(_ name: String, _ severity: Severity, _ message: String, status: ExitStatus = .done) {
            self.name = name
            self.severity = severity
            self.message = message
            self.status = status
        }

        /// A thing that could not be done.
        package init(_ name: String, failed error: any Error) {
            let error = JourneyError(error)
            self.init(name, .failed, error.message, status: error.status)
        }
    }

    /// What was found out about a store.
    package struct StoreExamination: Sendable {
        package var findings: [Finding] = []
        /// Nil when the store could not be probed.
        package var capabilities: StoreCapabilities?
        /// Whether it answers at all.
        package var isReachable = false
        package var holdsRepository = false
    }

    private let clock: any WallClock

    package init(clock: any WallClock) { self.clock = clock }

    /// Whether the store answers, holds a repository, and keeps its promises. Writes small objects and removes them,
    /// unless there is no repository and somebody else's things are there: `stranger` is one of them.
    package func examine(store: any ObjectStore, stranger: String?) async -> StoreExamination {
        var result = StoreExamination()
        do {
            let start = ContinuousClock.now
            result.holdsRepository = try await RepositoryAccess.holdsRepository(store)
            let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
            result.isReachable = true
            result.findings.append(Finding("store", .fine, "\(store.location) answers, in \(milliseconds) ms"))
        } catch {
            result.findings.append(Finding("store", failed: error))
            return result
        }
        if !result.holdsRepository, let stranger {
            result.findings.append(
                Finding(
                    "capabilities", .warning,
                    "not tested, for \(store.location) holds no repository but other things (\(stranger)): name an empty directory"
                ))
            return result
        }
        do {
            let report = try await CapabilityProbe(clock: clock).run(on: store)
            result.capabilities = report.capabilities
            result.findings += Self.findings(report)
        } catch {
            guard error.code == .accessDenied || error.code == .locked else {
                result.findings.append(Finding("capabilities", failed: error))
                return result
            }
            result.findings.append(
                Finding("capabilities", .warning, "not tested, for writing or removing is not allowed: \(error)"))
        }
        return result
    }

    private static func findings(_ report: CapabilityProbe.Report) -> [Finding] {
        var findings = report.findings.map {
            Finding(
                "capabilities", $0.severity == .broken ? .failed : .warning, $0.message,
                status: $0.severity == .broken ? .failed : .done)
        }
        let capabilities = report.capabilities
        let kept = [
            (capabilities.createIfAbsent, "create if absent"), (capabilities.replaceIfTag, "replace if unchanged"),
            (capabilities.conditionalDelete, "delete if unchanged"), (capabilities.listIsOrdered, "ordered listings"),
        ].filter(\.0).map(\.1)
        findings.append(Finding("capabilities", .fine, "the store can: \(kept.joined(separator: ", "))"))
        if !findings.contains(where: { $0.message.contains("clock") }) {
            findings.append(
                Finding(
                    "clock", .fine, "the store's clock is within \(Int(abs(report.clockSkewSeconds)) + 1) s of ours"))
        }
        return findings
    }

    /// Whether the repository opens, with which key, and what its listings say.
    package func examine(_ access: RepositoryAccess) async -> [Finding] {
        let repository: Repository
        do {
            repository = try await access.open()
        } catch {
            return [Finding("repository", failed: error)]
        }
        var findings = [
            Finding(
                "repository", .fine,
                "repository \(repository.config.repositoryID) opens, format \(repository.config.version), made \(CalendarTime(repository.config.created).text)"
            )
        ]
        if let slot = repository.slots.first(where: { $0.id == repository.slotID }) {
            findings.append(
                Finding(
                    "key", .fine,
                    "key \(slot.id) (\(slot.kind.name)) has the role '\(slot.role.name)'; there are \(repository.slots.count)"
                ))
            if !slot.isAnchored, slot.kind != .recipient {
                findings.append(
                    Finding(
                        "key", .warning,
                        "key \(slot.id) was made before keys were tied to their repository, so that whoever can write to the store could replace what it opens: renew it with 'becalm key passwd'"
                    ))
            }
        }
        do {
            let listing = try await repository.listSnapshots()
            findings.append(Finding("snapshots", .fine, counted(listing.snapshots.count, "snapshot")))
            for damage in listing.damage {
                findings.append(Finding("snapshots", .failed, damage.message, status: .integrity))
            }
        } catch {
            findings.append(Finding("snapshots", failed: error))
        }
        return findings
    }

    /// What this machine gives: processors, memory, libraries.
    package static func machine(_ options: RepositoryOptions) -> [Finding] {
        let plan = MemoryPlan(
            memoryBytes: options.memoryBytes, processors: options.processors, connections: options.connections)
        let mebibytes = { (bytes: Int) in "\(bytes >> 20) MiB" }
        return [
            Finding(
                "limits", .fine,
                "\(options.processors) processors, \(mebibytes(SystemLimits.memoryBytes)) of memory; buffers take \(mebibytes(max(options.memoryBytes, MemoryPlan.minimumBytes))), packs have \(mebibytes(plan.packBytes)), \(options.connections) requests at once"
            ),
            Finding("libraries", .fine, LibraryVersions.all.joined(separator: ", ")),
        ]
    }
}
