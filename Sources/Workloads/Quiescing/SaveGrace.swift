internal import Kubernetes

/// Whether pods that train are ended in the middle of a save: stopping them is SIGTERM, and SIGKILL when their grace is over.
enum SaveGrace {
    /// What Kubernetes grants where nothing is said, in seconds: too short for what a large model has to write.
    private static let defaultSeconds: Int64 = 30

    /// What is to be said of a workload that nobody asks for a checkpoint before it is stopped; nil where its pods have more than
    /// the default, or where nothing tells that it trains and writes to a volume.
    static func remark(_ live: LiveWorkload, pods: [KubernetesObject]) -> String? {
        guard trains(live.workload) else { return nil }
        // What runs counts, as templates of a runtime are elsewhere.
        let own = live.workload.podTemplates
        let templates = pods.isEmpty ? own : pods.flatMap(Pod().podTemplates)
        guard let short = templates.first(where: { isShort($0, anyDevice: live.workload.kind != BatchJob().kind) })
        else {
            return nil
        }
        let place = own.first(where: { $0.gracePeriodSeconds == short.gracePeriodSeconds }).map {
            "\($0.path.appending("spec").appending("terminationGracePeriodSeconds"))"
        }
        return
            "\(live.object.label) is not asked for a checkpoint before it is stopped, and its pods have \(short.gracePeriodSeconds) s to write one when they end: a save that takes longer is killed in its middle; raise \(place ?? "terminationGracePeriodSeconds of its pods"), or say how it is asked (\(BecalmAnnotation.checkpointSignal), say)"
    }

    /// Kinds that are for training. Servers, and clusters that others use, have no work that a stop could end.
    private static func trains(_ workload: Workload) -> Bool {
        switch workload.kind {
        case Pod().kind: false
        case KaitoWorkspace().kind: workload.object["tuning"]?.object != nil
        default: workload.adapter.runsToCompletion
        }
    }

    /// Whether pods of a template write to a claim and have the default grace or less. A plain Job may be anything: one that has no
    /// devices is not taken for training.
    private static func isShort(_ template: PodTemplate, anyDevice: Bool) -> Bool {
        let spec = template.json["spec"]
        let writes = (spec?["volumes"]?.array ?? []).contains {
            let claim = $0["persistentVolumeClaim"]
            return claim?.object != nil && claim?["readOnly"]?.bool != true
        }
        guard writes, template.gracePeriodSeconds <= defaultSeconds else { return false }
        return anyDevice || hasDevices(spec)
    }

    /// Whether its containers have accelerators or other devices: extended resources, whose names have a domain, or claims.
    private static func hasDevices(_ spec: JSONValue?) -> Bool {
        if spec?["resourceClaims"]?.array?.isEmpty == false { return true }
        return (spec?["containers"]?.array ?? []).contains { container in
            (container["resources", "limits"]?.object?.keys ?? []).contains { $0.contains("/") }
        }
    }
}
