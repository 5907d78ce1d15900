package import Kubernetes

/// How the pods are made that read and write volumes for Becalm: their image, where they run, what they may use.
package struct MoverSettings: Sendable {
    /// An image that has `becalm` in its PATH.
    package var image = ""
    /// `IfNotPresent`, `Always`, `Never`; empty leaves it to the cluster.
    package var imagePullPolicy = ""
    package var imagePullSecrets: [String] = []
    /// The account that the pods run as; empty for the namespace's default one. They get no token for the API either way.
    package var serviceAccount = ""
    package var priorityClass = ""
    /// Beside what the volume itself asks for.
    package var nodeSelector: [String: String] = [:]
    package var tolerations: [JSONValue] = []
    /// A container's `resources`.
    package var resources: JSONValue = [
        "limits": ["memory": "2Gi"], "requests": ["cpu": "250m", "memory": "512Mi"],
    ]
    package var labels: [String: String] = [:]
    package var annotations: [String: String] = [:]
    /// Whom the pods run as. 0, the default, reads whatever there is, with the capabilities for that and no others; any
    /// other is a user who has no capability, reads what it may, and does where root is not allowed.
    package var user: Int64 = 0
    package var group: Int64?
    package var supplementalGroups: [Int64] = []
    /// `seLinuxOptions` of the pods; nil takes those of the workload's pods.
    package var seLinuxOptions: JSONValue?
    /// How often a pod that fails or is evicted is made anew; what was stored is not stored again.
    package var retries = 6
    /// Seconds until a pod must have begun: scheduled, volume mounted, image pulled.
    package var startSeconds = 600
    /// Seconds after which the cluster ends a mover, whoever watches it.
    package var deadlineSeconds = 604_800
    /// Seconds after which the cluster removes a mover that has ended and that nobody has removed.
    package var lifeSeconds = 3600
    /// Bytes for copies of the index, as a quantity.
    package var cacheSize = "4Gi"
    /// Bytes of buffers, as `--memory` takes them; empty leaves it to the mover.
    package var memory = "256M"

    package init() {}

    /// The settings in a file: YAML or JSON, an object with the members above; what is missing keeps its default. `source`
    /// names it in errors. Throws a usage error for what it does not know: a setting that is misspelled would not hold.
    package init(parsing text: [UInt8], source: String) throws(JourneyError) {
        let json: JSONValue
        do throws(YAMLError) {
            json = try JSONValue(yaml: String(decoding: text, as: UTF8.self))
        } catch {
            throw .usage("\(source) cannot be read: \(error)")
        }
        guard let members = json.object else { throw .usage("\(source) holds no settings: an object is needed") }
        for member in members.members {
            guard set(member.key, member.value) else {
                throw .usage("\(source): `\(member.key.prefix(80))` is no setting of movers, or not with such a value")
            }
        }
    }

    /// Whether there is such a setting, and the value is one for it.
    private mutating func set(_ key: String, _ value: JSONValue) -> Bool {
        switch key {
        case "image": Self.assign(&image, value.string)
        case "imagePullPolicy":
            Self.assign(&imagePullPolicy, value.string.flatMap { Self.pullPolicies.contains($0) ? $0 : nil })
        case "imagePullSecrets": Self.assign(&imagePullSecrets, Self.strings(value))
        case "serviceAccount": Self.assign(&serviceAccount, value.string)
        case "priorityClass": Self.assign(&priorityClass, value.string)
        case "nodeSelector": Self.assign(&nodeSelector, Self.map(value))
        case "tolerations": Self.assign(&tolerations, value.array)
        case "resources": Self.assign(&resources, value.object.map { .object($0) })
        case "labels": Self.assign(&labels, Self.map(value))
        case "annotations": Self.assign(&annotations, Self.map(value))
        case "user": Self.assign(&user, Self.number(value, 0...Int64(Int32.max)))
        case "group": Self.assign(&group, Self.number(value, 0...Int64(Int32.max)))
        case "supplementalGroups":
            Self.assign(&supplementalGroups, value.array.flatMap { Self.numbers($0) })
        case "seLinuxOptions": Self.assign(&seLinuxOptions, value.object.map { .object($0) })
        case "retries": Self.assign(&retries, Self.number(value, 0...1000).map(Int.init))
        case "startSeconds": Self.assign(&startSeconds, Self.number(value, 1...86_400).map(Int.init))
        case "deadlineSeconds": Self.assign(&deadlineSeconds, Self.number(value, 60...31_536_000).map(Int.init))
        case "lifeSeconds": Self.assign(&lifeSeconds, Self.number(value, 0...31_536_000).map(Int.init))
        case "cacheSize": Self.assign(&cacheSize, value.string.flatMap { Quantity($0) == nil ? nil : $0 })
        case "memory": Self.assign(&memory, value.string)
        default: false
        }
    }

    private static let pullPolicies: Set = ["", "Always", "IfNotPresent", "Never"]

    /// Sets a setting to what was read; false when nothing was.
    private static func assign<T>(_ place: inout T, _ value: T?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static func assign<T>(_ place: inout T?, _ value: T?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static func number(_ value: JSONValue, _ range: ClosedRange<Int64>) -> Int64? {
        value.int64.flatMap { range.contains($0) ? $0 : nil }
    }

    private static func numbers(_ values: [JSONValue]) -> [Int64]? {
        let numbers = values.compactMap { number($0, 0...Int64(Int32.max)) }
        return numbers.count == values.count ? numbers : nil
    }

    private static func strings(_ value: JSONValue) -> [String]? {
        guard let elements = value.array else { return nil }
        let texts = elements.compactMap(\.string)
        return texts.count == elements.count ? texts : nil
    }

    private static func map(_ value: JSONValue) -> [String: String]? {
        guard let members = value.object?.members else { return nil }
        var map: [String: String] = [:]
        for member in members {
            guard let text = member.value.string else { return nil }
            map[member.key] = text
        }
        return map
    }
}
