internal import Kubernetes

/// Stops and lets go single objects, each time whatever is left to do: a step that was done is not done again.
struct TargetSwitch: Sendable {
    let client: KubernetesClient

    /// Seconds for Volcano to act on a Command.
    private static let commandSeconds = 30.0

    // MARK: Stopping

    /// Stops a target. A part of a workload that is gone needs nothing: what has come in its place shows at the next look.
    /// Throws when the workload itself is another object by now, and when the server does not keep what stops it.
    func stop(_ target: StopTarget) async throws {
        guard target.method != .drain else { throw WorkloadError("\(target.label) is no workload") }
        guard let (resource, object) = try await find(target), let live = try await WorkloadFinder(client).live(object)
        else {
            if target.isPart { return }
            throw WorkloadError("\(target.label) is not there any more: it was deleted, or replaced by another")
        }
        switch live.workload.stop {
        case .fields:
            do {
                try await hold(target, resource, live.workload.adapter)
            } catch let error as KubernetesError where error.code == .notFound && target.isPart {
                return
            }
        case .command(let command, _):
            // One that is stopped already was stopped by somebody else, who will let it go.
            let isOurs = object.annotations[BecalmAnnotation.quiesced] != nil || target.held != nil
            guard isOurs || live.workload.standing != .stopped else { return }
            try await mark(target, resource, HeldFields().text)
            if live.workload.standing == .running { try await create(command, "abort", target) }
        case .throughKueue, .objects, .impossible:
            throw WorkloadError("\(target.label) is stopped in another way than when this began; try again")
        }
    }

    private func hold(_ target: StopTarget, _ resource: APIResource, _ adapter: any WorkloadAdapter) async throws {
        let stored = try await client.updating(resource, namespace: target.namespace, name: target.name) {
            (object: inout KubernetesObject) throws(WorkloadError) in
            guard object.uid == target.uid else { throw Self.replaced(target) }
            var workload = Workload(object, adapter)
            try workload.hold(noted: target.held ?? [])
            object = workload.object
        }
        let held = try HeldFields(of: stored, annotation: BecalmAnnotation.quiesced)
        for field in held?.fields ?? [] {
            guard let path = field.path.resolve(in: stored), stored[path] == field.set else {
                throw WorkloadError(
                    "\(target.label) cannot be stopped: the server does not keep \(field.path); it drops or overrides the field"
                )
            }
        }
    }

    /// What holds an object, for the journal: what its annotation says or, with `isNext`, what stopping it would note. Without
    /// either, what is known of it already.
    func held(_ target: StopTarget, isNext: Bool) async throws -> [HeldFields.Field]? {
        guard target.method != .drain, let (_, object) = try await find(target) else { return target.held }
        if let held = try HeldFields(of: object, annotation: BecalmAnnotation.quiesced) { return held.fields }
        guard isNext, target.method == .fields, var workload = try await WorkloadFinder(client).live(object)?.workload
        else { return target.held }
        try workload.hold(noted: target.held ?? [])
        return try HeldFields(of: workload.object, annotation: BecalmAnnotation.quiesced)?.fields
    }

    // MARK: Routes

    /// Sets the weights of a route's backends to 0, for a workload. Throws as `stop` does.
    func drain(_ target: StopTarget, for holder: WorkloadReference) async throws {
        guard let (resource, _) = try await find(target) else { throw Self.replaced(target) }
        let stored = try await client.updating(resource, namespace: target.namespace, name: target.name) {
            (route: inout KubernetesObject) throws(WorkloadError) in
            guard route.uid == target.uid else { throw Self.replaced(target) }
            try RouteDrain.drain(&route, Set(target.pools), holder: "\(holder)")
        }
        if let pool = target.pools.first(where: RouteDrain.openPools(of: stored).contains) {
            // As it was: some of its weights may be 0 by now.
            _ = try await open(target, for: holder, serves: false)
            throw WorkloadError(
                "\(target.label) cannot be drained: the server does not keep a weight of 0 for \(pool); it drops or overrides the field"
            )
        }
    }

    /// Puts the weights of a route back that are 0 for a workload, unless others need them to be; with `serves`, its pods
    /// answer, and then they are put back in any case. Answers what users should know, as `release` does.
    func open(_ target: StopTarget, for holder: WorkloadReference, serves: Bool) async throws -> [String] {
        let found: (APIResource, KubernetesObject)?
        do throws(KubernetesError) {
            found = try await find(target)
        } catch {
            guard error.code == .forbidden else { throw error }
            // Waiting gives nobody the permission; the route itself says what it is closed for.
            return [
                "whether \(target.label) has its weights back cannot be seen: \(error.message); 'becalm resume \(holder)' by somebody who may change it puts them back"
            ]
        }
        guard let (resource, route) = found else {
            return ["\(target.label) was deleted or replaced while its weights were 0: there is nothing to put back"]
        }
        guard let drain = try RouteDrain(of: route) else {
            let open = RouteDrain.openPools(of: route)
            return target.pools.filter { !open.contains($0) }.map { pool in
                "\(target.label): somebody removed the annotation \(BecalmAnnotation.drained), and its weight for \(pool) is 0: put it back by hand"
            }
        }
        // With pods that serve, nobody else is asked.
        let nobody = serves ? [] : try await gone(among: drain.holders, besides: holder)
        var remarks: [String] = []
        _ = try await client.updating(resource, namespace: target.namespace, name: target.name) {
            (route: inout KubernetesObject) throws(WorkloadError) in
            guard route.uid == target.uid else { throw Self.replaced(target) }
            remarks = try RouteDrain.open(&route, for: "\(holder)", serves: serves, gone: nobody)
        }
        return remarks
    }

    /// The holders whose journals are gone: those have been let go, or somebody deleted the journal. One whose journal may not,
    /// or cannot, be read holds what it holds.
    private func gone(among holders: Set<String>, besides own: WorkloadReference) async throws -> Set<String> {
        guard holders.contains("\(own)") else { return [] }
        var gone: Set<String> = []
        for other in holders where other != "\(own)" {
            do throws(any Error) {
                guard let reference = try? WorkloadReference(parsing: other),
                    try await QuiesceJournal(client, of: reference).read().entry != nil
                else {
                    gone.insert(other)
                    continue
                }
            } catch let error as KubernetesError where error.code == .forbidden {
                continue
            } catch is WorkloadError {
                continue
            }
        }
        return gone
    }

    private static func replaced(_ target: StopTarget) -> WorkloadError {
        WorkloadError("\(target.label) was replaced by another object of that name")
    }

    // MARK: Letting go

    /// Lets a target go. `noted` is what the journal says of it, which counts where somebody removed its annotation; nil where
    /// nothing but that does. `check` throws when the workload is another's by now, and is asked before each change. Answers what
    /// users should know: fields that somebody changed meanwhile, an object that is gone. Throws `.notServed`.
    func release(
        _ target: StopTarget, noted: [HeldFields.Field]? = nil, check: () async throws -> Void = {}
    ) async throws -> [String] {
        guard let (resource, object) = try await findStopped(target) else {
            return ["\(target.label) was deleted or replaced while it was stopped: there is nothing to put back"]
        }
        let isMarked = object.annotations[BecalmAnnotation.quiesced] != nil
        guard isMarked || noted != nil else { return [] }
        if target.method == .command { return try await resume(target, resource, object, isMarked, check) }
        var foreign: [FieldPath] = []
        var isRestored = false
        try await check()
        _ = try await client.updating(resource, namespace: target.namespace, name: target.name) {
            (object: inout KubernetesObject) throws(WorkloadError) in
            guard object.uid == target.uid else { throw Self.replaced(target) }
            if object.annotations[BecalmAnnotation.quiesced] != nil {
                foreign = try HeldFields.release(&object, annotation: BecalmAnnotation.quiesced)
            } else {
                let before = object
                foreign = try HeldFields.restore(&object, noted ?? [])
                isRestored = isRestored || object != before
            }
        }
        return (isRestored ? [Self.unmarked(target)] : [])
            + foreign.map {
                "\(target.label): \($0) was changed by somebody else while it was stopped, and stays as it is"
            }
    }

    private static func unmarked(_ target: StopTarget) -> String {
        "\(target.label): somebody removed its annotation \(BecalmAnnotation.quiesced) while it was stopped: what it was before was put back by the journal"
    }

    /// Whether an object that was stopped is gone, or another one has its name. Throws `.notServed`.
    func isGone(_ target: StopTarget) async throws -> Bool { try await findStopped(target) == nil }

    /// What `find` finds. An object of a kind that is not served is gone only when the kind's definition is: an API server that
    /// has just started serves some kinds later than others, and theirs are stopped yet. Throws `.notServed` then.
    private func findStopped(_ target: StopTarget) async throws -> (APIResource, KubernetesObject)? {
        let (group, kind) = (target.kind.group, target.kind.kind)
        if try await client.resourceInAnyVersion(of: target.kind) != nil { return try await find(target) }
        var why = "it was stopped, and is let go when the server serves it again"
        // Kinds of Kubernetes' own have no definition, and groups without a dot.
        if group.contains("."), let known = WorkloadCatalog.standard.adapter(group: group, kind: kind)?.kind {
            do throws(KubernetesError) {
                let name = known.groupResource
                if try await client.find(.customResourceDefinitions, name: name) == nil { return nil }
            } catch {
                guard error.code == .forbidden else { throw error }
                why += "; if its definition is gone, which cannot be seen, delete the Lease: \(error.message)"
            }
        }
        throw QuiesceError(.notServed, "\(target.label): the server does not serve its kind now; \(why)")
    }

    /// Lets a Volcano job go. A Command to abort it that nobody has read yet is taken back.
    private func resume(
        _ target: StopTarget, _ resource: APIResource, _ object: KubernetesObject, _ isMarked: Bool,
        _ check: () async throws -> Void
    ) async throws -> [String] {
        guard let live = try await WorkloadFinder(client).live(object),
            case .command(_, let command) = live.workload.stop,
            // Whoever took the mark off one that is not stopped has let it go.
            isMarked || live.workload.standing == .stopped
        else { return [] }
        try await check()
        let commands = try await self.commands()
        let isTakenBack = try await client.delete(
            commands, namespace: target.namespace, name: Self.name("abort", target))
        if !isTakenBack {
            let adapter = live.workload.adapter
            if try await waits(resource, target, { adapter.standing($0) != .running }) {
                try await check()
                try await create(command, "resume", target)
                guard try await waits(resource, target, { adapter.standing($0) == .running }) else {
                    throw WorkloadError(
                        "\(target.label) was told to go on and has not begun within \(Int(Self.commandSeconds)) s: is Volcano's controller running?"
                    )
                }
            }
        }
        try await check()
        try await mark(target, resource, nil)
        return isMarked ? [] : [Self.unmarked(target)]
    }

    /// Whether an object comes to be as it should within the time that Volcano is given.
    private func waits(
        _ resource: APIResource, _ target: StopTarget, _ isSo: @escaping @Sendable (KubernetesObject) -> Bool
    ) async throws -> Bool {
        do {
            return try await client.wait(
                for: resource, namespace: target.namespace, name: target.name, seconds: Self.commandSeconds,
                what: "changed"
            ) { object in
                guard let object, object.uid == target.uid else { return true }
                return isSo(object) ? true : nil
            }
        } catch let error as KubernetesError where error.code == .timedOut {
            return false
        }
    }

    private func mark(_ target: StopTarget, _ resource: APIResource, _ value: String?) async throws {
        _ = try await client.updating(resource, namespace: target.namespace, name: target.name) {
            (object: inout KubernetesObject) throws(WorkloadError) in
            guard object.uid == target.uid else { throw Self.replaced(target) }
            if let value {
                object.setAnnotation(BecalmAnnotation.quiesced, value)
            } else {
                object.removeAnnotation(BecalmAnnotation.quiesced)
            }
        }
    }

    /// A name of its own for each Command, so that one that is created again is the same.
    private static func name(_ word: String, _ target: StopTarget) -> String { "becalm-\(word)-\(target.uid)" }

    private func create(_ command: KubernetesObject, _ word: String, _ target: StopTarget) async throws {
        var command = command
        command.generateName = ""
        command.name = Self.name(word, target)
        do throws(KubernetesError) {
            _ = try await client.create(try await commands(), command)
        } catch {
            guard error.code == .alreadyExists else { throw error }
        }
    }

    private func commands() async throws(KubernetesError) -> APIResource {
        let kind = ResourceKind.volcanoCommand
        guard let resource = try await client.resource(group: kind.group, kind: kind.kind) else {
            throw KubernetesError(
                .unsupported, "the server does not serve \(kind.groupResource): Volcano jobs are stopped by these")
        }
        return resource
    }

    /// The object that is meant; nil when it is gone, or another one has its name.
    private func find(_ target: StopTarget) async throws(KubernetesError) -> (APIResource, KubernetesObject)? {
        // Another version may be served by now.
        guard let resource = try await client.resourceInAnyVersion(of: target.kind),
            let object = try await client.find(resource, namespace: target.namespace, name: target.name),
            object.uid == target.uid
        else { return nil }
        return (resource, object)
    }
}
