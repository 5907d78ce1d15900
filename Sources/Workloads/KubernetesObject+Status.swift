internal import Kubernetes

extension KubernetesObject {
    /// Whether a condition of the status is true.
    func isTrue(_ condition: String) -> Bool {
        (self["status", "conditions"]?.array ?? []).contains {
            $0["type"]?.string == condition && $0["status"]?.string == "True"
        }
    }

    /// A counter; 0 when it is missing, as the API leaves zeros out.
    func count(_ path: JSONPath.Element...) -> Int64 { self[JSONPath(path)]?.int64 ?? 0 }

    /// A switch; off when it is missing.
    func isOn(_ path: JSONPath.Element...) -> Bool { self[JSONPath(path)]?.bool ?? false }

    /// A text; nil when it is missing or empty.
    func text(_ path: JSONPath.Element...) -> String? {
        self[JSONPath(path)]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The pod template at `path`, if there is one.
    func podTemplate(at path: JSONPath) -> PodTemplate? {
        guard let json = self[path], json["spec"]?.object != nil else { return nil }
        return PodTemplate(path: path, json: json)
    }

    /// The pod templates at `rest` within each element of the list at `list`.
    func podTemplates(in list: JSONPath, _ rest: JSONPath) -> [PodTemplate] {
        (self[list]?.array ?? []).indices.compactMap { index in
            podTemplate(at: JSONPath(list.elements + [.index(index)] + rest.elements))
        }
    }

    /// The reading of counters that count pods: stopped when a stop is asked for and all are zero.
    func standing(isAsked: Bool, _ counters: (name: String, count: Int64)...) -> Standing {
        guard isAsked else { return .running }
        let left = counters.filter { $0.count > 0 }
        guard !left.isEmpty else { return .stopped }
        return .stopping(left.map { "\($0.count) \($0.name)" }.joined(separator: ", "))
    }

    /// The selector in a field; empty when the field is missing, so that nothing is selected by chance.
    func selectors(_ path: JSONPath.Element...) throws(WorkloadError) -> [LabelSelector] {
        guard let json = self[JSONPath(path)], !json.isNull else { return [] }
        do throws(LabelSelector.Malformed) {
            let selector = try LabelSelector(json)
            return selector.requirements.isEmpty ? [] : [selector]
        } catch {
            throw WorkloadError("\(label): \(error.message)")
        }
    }
}
