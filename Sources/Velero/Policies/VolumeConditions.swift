internal import Kubernetes

/// The conditions of one volume policy; all must hold, and none at all hold for every volume.
struct VolumeConditions: Sendable {
    /// Whether conditions hold for a volume.
    enum Verdict: Hashable, Sendable {
        case holds
        case fails
        /// It cannot be said, and why.
        case unknown(String)
    }

    private enum Condition: Sendable {
        /// Both inclusive; nothing stands for no bound.
        case capacity(least: Quantity, most: Quantity)
        case storageClass([String])
        /// Empty texts stand for anything.
        case nfs(server: String, path: String)
        /// An empty driver stands for any.
        case csi(driver: String, attributes: [String: String])
        case volumeTypes([String])
        case labels([String: String])
        case phases([String])
        case volumeMode(String)
        case accessModes([String])
        /// One that this version does not know.
        case foreign(String)
    }

    private let conditions: [Condition]

    /// From the `conditions` of a policy at `place`. Throws when a known condition is malformed.
    init(_ json: JSONValue, _ place: String) throws(VeleroError) {
        guard json.isNull || json.object != nil else {
            throw VeleroError(.invalidArgument, "\(place).conditions is a map, not \(json.kindName)")
        }
        var conditions: [Condition] = []
        for member in json.object?.members ?? [] where !member.value.isNull {
            let reader = ConditionReader(value: member.value, place: "\(place).conditions.\(member.key)")
            conditions.append(try Self.condition(member.key, reader))
        }
        self.conditions = conditions
    }

    private static func condition(_ key: String, _ reader: ConditionReader) throws(VeleroError) -> Condition {
        switch key {
        case "capacity": return try capacity(reader)
        case "storageClass": return .storageClass(try reader.list())
        case "nfs":
            return .nfs(server: try reader.text("server"), path: try reader.text("path"))
        case "csi":
            let driver = try reader.text("driver")
            let attributes = try reader.map("volumeAttributes")
            guard !driver.isEmpty || attributes.isEmpty else {
                throw reader.malformed("names no driver for its volumeAttributes")
            }
            return .csi(driver: driver, attributes: attributes)
        case "volumeTypes": return .volumeTypes(try reader.list())
        case "pvcLabels": return .labels(try reader.map(nil))
        case "pvcPhase": return .phases(try reader.list())
        case "pvcVolumeMode": return .volumeMode(try reader.text(nil))
        case "pvcAccessModes": return .accessModes(try reader.list())
        default: return .foreign(key)
        }
    }

    private static func capacity(_ reader: ConditionReader) throws(VeleroError) -> Condition {
        let text = try reader.text(nil)
        let sides = (text.isEmpty ? "," : text).split(separator: ",", omittingEmptySubsequences: false)
        var bounds: [Quantity] = []
        for side in sides {
            let word = String(side.filter { $0 != " " && $0 != "\t" })
            guard let bound = word.isEmpty ? Quantity(0) : Quantity(word) else {
                throw reader.malformed("has `\(word.prefix(80))`, which is no amount such as 100Gi")
            }
            bounds.append(bound)
        }
        guard bounds.count == 2, bounds[1].isZero || bounds[0] <= bounds[1] else {
            throw reader.malformed("is two amounts with a comma between them, the lesser first, such as `10Gi,1Ti`")
        }
        return .capacity(least: bounds[0], most: bounds[1])
    }

    /// Whether all of them hold. One that fails decides, whatever is unknown beside it.
    func match(_ volume: VolumeFacts) -> Verdict {
        var unknown: String?
        for condition in conditions {
            switch Self.match(condition, volume) {
            case .holds: break
            case .fails: return .fails
            case .unknown(let reason): unknown = unknown ?? reason
            }
        }
        return unknown.map { .unknown($0) } ?? .holds
    }

    private static func match(_ condition: Condition, _ volume: VolumeFacts) -> Verdict {
        switch condition {
        case .capacity(let least, let most):
            guard let size = volume.capacity else { return .unknown("the size of \(volume.claim.label) is malformed") }
            // As Velero has it: with no bounds at all, everything is in them.
            return of((most.isZero || size <= most) && least <= size)
        case .storageClass(let names):
            return of(names.isEmpty || !volume.storageClass.isEmpty && names.contains(volume.storageClass))
        case .nfs(let server, let path):
            return onVolume(volume) {
                guard let source = volume.source("nfs") else { return false }
                return (server.isEmpty || source["server"]?.string == server)
                    && (path.isEmpty || source["path"]?.string == path)
            }
        case .csi(let driver, let attributes):
            return onVolume(volume) {
                guard let source = volume.source("csi") else { return false }
                return (driver.isEmpty || source["driver"]?.string == driver)
                    && attributes.allSatisfy { source["volumeAttributes", .key($0.key)]?.string == $0.value }
            }
        case .volumeTypes(let types):
            if types.isEmpty { return .holds }
            return onVolume(volume) { types.contains(volume.type) }
        case .labels(let labels):
            let own = volume.claim.labels
            return of(labels.allSatisfy { own[$0.key] == $0.value })
        case .phases(let phases):
            return of(phases.isEmpty || phases.contains(volume.claim["status", "phase"]?.string ?? ""))
        case .volumeMode(let mode):
            return of(mode.isEmpty || volume.claim["spec", "volumeMode"]?.string == mode)
        case .accessModes(let modes):
            let own = volume.claim.strings("spec", "accessModes")
            return of(modes.isEmpty || own.count == modes.count && Set(own) == Set(modes))
        case .foreign(let key): return .unknown("this version does not know the condition `\(key.prefix(80))`")
        }
    }

    private static func of(_ holds: Bool) -> Verdict { holds ? .holds : .fails }

    /// A condition on what a volume is on. A claim without one fails it.
    private static func onVolume(_ volume: VolumeFacts, _ holds: () -> Bool) -> Verdict {
        volume.lacksVolume
            ? .unknown("the PersistentVolume \(volume.volumeName) of \(volume.claim.label) cannot be read")
            : of(holds())
    }
}

/// Reads the value of one condition.
private struct ConditionReader {
    let value: JSONValue
    let place: String

    func malformed(_ what: String) -> VeleroError { VeleroError(.invalidArgument, "\(place) \(what)") }

    /// A text, the value itself or its member; empty when the member is missing.
    func text(_ key: String?) throws(VeleroError) -> String {
        if let key, value.object == nil { throw malformed("is a map with \(key), not \(value.kindName)") }
        let json = key.map { value[.key($0)] ?? "" } ?? value
        guard let text = PolicyText.plain(json) else {
            throw malformed("\(key.map { "has a \($0), which " } ?? "")is a text, not \(json.kindName)")
        }
        return text
    }

    /// A list of texts.
    func list() throws(VeleroError) -> [String] {
        guard let elements = value.array else { throw malformed("is a list, not \(value.kindName)") }
        let texts = elements.compactMap { PolicyText.plain($0) }
        guard texts.count == elements.count else { throw malformed("is a list of texts only") }
        return texts
    }

    /// A map of texts, the value itself or its member; empty when the member is missing.
    func map(_ key: String?) throws(VeleroError) -> [String: String] {
        let json = key.map { value[.key($0)] ?? [:] } ?? value
        guard let object = json.object else { throw malformed("is a map, not \(json.kindName)") }
        var result: [String: String] = [:]
        for member in object.members {
            guard let text = PolicyText.plain(member.value) else {
                throw malformed("has \(member.value.kindName) for \(member.key.prefix(80)), which is a text")
            }
            result[member.key] = text
        }
        return result
    }
}
