package import Kubernetes

/// An object that is a workload, with all that can be said of it and done to it without a cluster.
package struct Workload: Sendable {
    /// The object, changed by what is done here.
    package private(set) var object: KubernetesObject
    package let adapter: any WorkloadAdapter

    package init(_ object: KubernetesObject, _ adapter: any WorkloadAdapter) {
        self.object = object
        self.adapter = adapter
    }

    /// Its kind.
    package var kind: ResourceKind { adapter.kind }
    /// Whether Kueue decides when it runs.
    package var isManagedByKueue: Bool { Kueue.manages(object) }
    /// Whether Kueue starts and stops the object itself, whatever its fields say. Of kinds that serve it admits the pods, and
    /// leaves the number of replicas to others.
    package var isStartedByKueue: Bool {
        isManagedByKueue && kind != KueueWorkload().kind && !Kueue.servingKinds.contains(kind)
    }
    /// Whether it is done; nil while it is not.
    package var completion: Completion? { adapter.completion(object) }
    /// What its status says about its pods; nil when it does not say.
    package var standing: Standing? { adapter.standing(object) }

    /// How it is stopped, by its queue if that is what decides.
    package var stop: StopMethod {
        let own = adapter.stop(object)
        // What cannot be stopped cannot be by Kueue either, which deletes a pod to stop it.
        if case .impossible = own { return own }
        return isStartedByKueue ? .throughKueue : own
    }

    /// Whether its fields, as they are, have it stopped. True for one that is stopped otherwise, which its fields do not tell.
    package var asksToStop: Bool {
        guard case .fields(let settings) = stop else { return true }
        return settings.allSatisfy { setting in
            setting.path.resolve(in: object).map { object[$0] == setting.value } ?? false
        }
    }

    /// Which pods are its own: those of any of these.
    package func podSelectors() throws(WorkloadError) -> [LabelSelector] { try adapter.podSelectors(object) }

    /// The pods that it describes.
    package var podTemplates: [PodTemplate] { adapter.podTemplates(object) }

    /// The claims of its pods, each once.
    package var claims: [ClaimReference] {
        var names: Set<String> = []
        let named = podTemplates.flatMap(\.claimNames).map { ClaimReference($0, .named) }
        return (named + adapter.claims(object)).filter { names.insert($0.name).inserted }
    }

    /// What it needs and what it belongs to, each object once; claims first, owners last.
    package func references(_ catalog: WorkloadCatalog = .standard) -> [ObjectReference] {
        let namespace = object.namespace
        var all = claims.map {
            ObjectReference(.persistentVolumeClaim, namespace: namespace, name: $0.name, role: .claim)
        }
        all += podTemplates.flatMap { $0.references(namespace: namespace) } + adapter.references(object)
        if let queue = Kueue.queue(of: object) {
            all.append(ObjectReference(.localQueue, namespace: namespace, name: queue, role: .queue))
        }
        for owner in object.ownerReferences where !owner.name.isEmpty {
            guard let kind = catalog.kind(of: owner) else { continue }
            all.append(ObjectReference(kind, namespace: namespace, name: owner.name, role: .owner))
        }
        var seen: [ObjectReference: Int] = [:]
        var result: [ObjectReference] = []
        for reference in all {
            var key = reference
            (key.role, key.isOptional) = (.claim, false)
            if let index = seen[key] {
                result[index].isOptional = result[index].isOptional && reference.isOptional
            } else {
                seen[key] = result.count
                result.append(reference)
            }
        }
        return result
    }

    // MARK: Traps

    /// What a user should know before it is stopped.
    package var findings: [WorkloadFinding] {
        var findings = adapter.findings(object)
        if let deployer = Deployer(of: object) { findings.append(deployer.finding(object)) }
        if let manager = object.text("spec", "managedBy"), kind == BatchJob().kind,
            manager != "kubernetes.io/job-controller"
        {
            findings.append(.managedElsewhere(object, manager))
        }
        return findings
    }

    // MARK: Marks

    /// Whether a user, or a backup, marked it as one that Becalm cares for.
    package var isMarked: Bool {
        let marks: Set = [
            BecalmAnnotation.consistency, BecalmAnnotation.checkpointCommand, BecalmAnnotation.checkpointSignal,
            BecalmAnnotation.checkpointHTTP, BecalmAnnotation.checkpointTimeout, BecalmAnnotation.quiesced,
            BecalmAnnotation.gated, BecalmAnnotation.captured,
        ]
        return object.annotations.keys.contains(where: marks.contains)
    }

    /// Sets one of our annotations, or removes it.
    package mutating func annotate(_ key: String, _ value: String?) {
        if let value { object.setAnnotation(key, value) } else { object.removeAnnotation(key) }
    }

    // MARK: Stopping by fields

    /// Sets the fields that stop it and notes what they were, where its annotation is gone by what is `noted` elsewhere. Throws
    /// when it is stopped in another way.
    package mutating func hold(noted: [HeldFields.Field] = []) throws(WorkloadError) {
        guard case .fields(let settings) = stop else {
            throw WorkloadError("\(object.label) is not stopped by fields of its own")
        }
        try HeldFields.hold(&object, settings, annotation: BecalmAnnotation.quiesced, noted: noted)
    }

    /// Puts back what `hold` changed; returns the fields that somebody else changed since, which stay as they are.
    @discardableResult
    package mutating func release() throws(WorkloadError) -> [FieldPath] {
        try HeldFields.release(&object, annotation: BecalmAnnotation.quiesced)
    }

    // MARK: Restoring

    /// Makes of the stored object one that can be created: the user's own spec, whatever held it when it was stored,
    /// without what a server or a controller wrote and without names of objects of the other cluster.
    package mutating func prepareForRestore() throws(WorkloadError) {
        try liftGate()
        try release()
        object.removeAnnotation(BecalmAnnotation.captured)
        object.remove(at: ["status"])
        for key in Self.generatedMetadata { object.remove(at: ["metadata", .key(key)]) }
        adapter.strip(&object)
        Kueue.strip(&object, templates: podTemplates.map(\.path))
    }

    /// What a user should know of a restored one, a line each.
    package var restoreRemarks: [String] { adapter.restoreRemarks(object) }

    /// What the server writes into every object's metadata. Owners are named by uids, which are others now.
    private static let generatedMetadata = [
        "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "managedFields", "selfLink", "ownerReferences",
    ]

    /// Keeps it from running once it is created; with `byHand` until a user lets it go, whatever becomes of its data. Returns
    /// why that is not possible, or nil when it is done.
    package mutating func gate(byHand: Bool = false) throws(WorkloadError) -> String? {
        switch adapter.gate(object) {
        case .fields(let settings):
            try HeldFields.hold(&object, settings, annotation: BecalmAnnotation.gated)
            // Kueue starts what it admits, whatever the fields say; where there is no Kueue, the fields hold.
            if isStartedByKueue { Kueue.gate(&object) }
        case .schedulingGate:
            var gates = (object["spec", "schedulingGates"]?.array ?? []).filter {
                $0["name"]?.string != BecalmAnnotation.gateName
            }
            gates.append(["name": .string(BecalmAnnotation.gateName)])
            do throws(JSONPathError) {
                try object.set(.array(gates), at: ["spec", "schedulingGates"])
            } catch {
                throw WorkloadError("\(object.label) is malformed: \(error)")
            }
            // The server takes no gates on a pod that has its node.
            object.remove(at: ["spec", "nodeName"])
            object.setAnnotation(BecalmAnnotation.gated, HeldFields().text)
        case .none(let reason): return reason
        }
        if byHand { object.setAnnotation(BecalmAnnotation.release, "by-hand") }
        return nil
    }

    /// Lets it run. Where Kueue is served, what it starts is started by Kueue alone: the fields stay as they are.
    /// Returns the fields that somebody else changed since, which stay as they are.
    @discardableResult
    package mutating func liftGate(kueueIsServed: Bool = false) throws(WorkloadError) -> [FieldPath] {
        guard object.annotations[BecalmAnnotation.gated] != nil else { return [] }
        let isLeftToKueue = kueueIsServed && isStartedByKueue
        let foreign = try HeldFields.release(
            &object, annotation: BecalmAnnotation.gated, keeping: { _ in isLeftToKueue })
        object.removeAnnotation(BecalmAnnotation.release)
        Kueue.ungate(&object)
        object.removeElements(of: ["spec", "schedulingGates"]) {
            $0["name"]?.string == BecalmAnnotation.gateName
        }
        return foreign
    }
}
