package import ArgumentParser
internal import Basics
internal import ObjectStorage
package import Orchestration
internal import Repository
internal import S3ObjectStorage
internal import Snapshots
internal import SystemPackage

/// `becalm doctor`
package struct DoctorCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Examine the store, the repository, the credentials, this machine and a cluster.",
        discussion: """
            It says what is missing and which safety is lost by it. The store is tested with small objects below \
            'probe/', which are removed again; a directory that holds other things and no repository is left as it is. \
            The exit code is that of the first thing that fails.

            With '--cluster' it tells, too, which workloads of the cluster can be stopped, what you may not do there, \
            which volumes are read from snapshots, and whether anybody holds deadlines. Without a repository, it looks \
            at the cluster alone.

            EXAMPLE:
              $ becalm doctor --repository s3://backups/team-a
              $ becalm doctor --cluster --namespace train
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var access: ClusterOptions

    @Flag(name: .long, help: "Examine the cluster, too; '--kubeconfig', '--context' and '--namespace' do so as well.")
    package var cluster = false

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("What you may do in one namespace of the cluster. Default: in all.", valueName: "name"))
    package var namespace: String?

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let session = RepositorySession(global, context)
        let options = try session.repositoryOptions()
        var findings = DoctorJourney.machine(options)
        findings.append(
            .init("libraries", .fine, "becalm \(Version.number), \(S3ObjectStore.transportVersion)"))
        let looksAtCluster =
            cluster || namespace != nil || access.kubeconfig != nil || access.context != nil
        if !looksAtCluster || RepositoryLocation.name(global, context) != nil {
            findings.append(try await cacheFinding(session))
            findings += await storeFindings(session, options, context)
        }
        if looksAtCluster { findings += await clusterFindings(context) }
        for finding in findings {
            context.output.emit(
                "check",
                [
                    .init("name", .string(finding.name)), .init("status", .string(finding.severity.rawValue)),
                    .init("message", .string(finding.message)),
                ], text: Console.oneLine("\(Self.mark(finding.severity))  \(finding.name): \(finding.message)"))
        }
        let counts = { (severity: DoctorJourney.Finding.Severity) in
            UInt64(findings.count { $0.severity == severity })
        }
        context.output.summary(
            [
                .init("ok", .unsigned(counts(.fine))), .init("warnings", .unsigned(counts(.warning))),
                .init("failed", .unsigned(counts(.failed))),
            ],
            text: "\(Format.count(counts(.failed), "failure")), \(Format.count(counts(.warning), "warning"))")
        return findings.first { $0.severity == .failed }?.status ?? .done
    }

    private func clusterFindings(_ context: CommandContext) async -> [DoctorJourney.Finding] {
        do {
            let client = try await access.client(context, global)
            return await ClusterExamination(client, namespace: namespace ?? "").findings()
        } catch {
            return [.init("cluster", failed: error)]
        }
    }

    private static func mark(_ severity: DoctorJourney.Finding.Severity) -> String {
        switch severity {
        case .fine: "ok  "
        case .warning: "warn"
        case .failed: "FAIL"
        }
    }

    private func cacheFinding(_ session: RepositorySession) async throws -> DoctorJourney.Finding {
        guard let directory = session.cacheDirectory else {
            return .init("cache", .warning, "there is none: every run reads the whole index from the store")
        }
        return try await BlockingBridge.offload(name: "becalm-cache") {
            Result {
                do {
                    try SystemFiles.makeDirectories(directory)
                    let trial = Array("\(directory).\(CapabilityProbe.randomName())".utf8)
                    let file = Array("\(directory.appending("trial")).\(CapabilityProbe.randomName())".utf8)
                    try SystemFiles.write(trial, to: file)
                    SystemFiles.remove(file)
                    return .init("cache", .fine, "\(directory)")
                } catch {
                    return .init(
                        "cache", .warning,
                        "\(directory) cannot be written to, so every run reads the whole index from the store: \(error)"
                    )
                }
            }
        }
    }

    private func storeFindings(
        _ session: RepositorySession, _ options: RepositoryOptions, _ context: CommandContext
    ) async -> [DoctorJourney.Finding] {
        let opened: OpenedStore
        let stranger: String?
        do {
            let location = try session.location
            opened = try await session.factory.open(location, create: false)
            stranger = try await session.stranger(at: location)
        } catch {
            return [.init("store", failed: error)]
        }
        var findings = opened.facts.filter { !$0.value.isEmpty }.map {
            DoctorJourney.Finding($0.name, .fine, $0.value)
        }
        let journey = DoctorJourney(clock: context.clock)
        let bare = session.decoration.around(opened.store, capabilities: nil, policy: .brief)
        let examination = await journey.examine(store: bare, stranger: stranger)
        findings += examination.findings
        guard examination.isReachable else { return findings }
        if let capabilities = examination.capabilities {
            let memory = session.memory
            do {
                try await BlockingBridge.offload(name: "becalm-cache") {
                    Result { memory.store(capabilities, opened.identity) }
                }
            } catch {
                findings.append(.init("cache", failed: error))
            }
        }
        guard examination.holdsRepository else {
            findings.append(
                .init(
                    "repository", .failed,
                    stranger == nil
                        ? "there is none yet: make one with 'becalm init'"
                        : "there is none here: check the place, or make one in a directory of its own with 'becalm init'",
                    status: .noRepository))
            return findings
        }
        do {
            let store = session.decoration.around(
                opened.store, capabilities: examination.capabilities, policy: .brief)
            findings += await journey.examine(
                RepositoryAccess(store: store, credential: try await session.credential(), options: options))
        } catch {
            findings.append(.init("key", failed: error))
        }
        return findings
    }
}
