internal import Basics
internal import FoundationEssentials
internal import SwiftProtobuf
internal import Velero
internal import VeleroProtocol

extension Generated_ResourceIdentifier {
    init(_ identifier: ResourceIdentifier) {
        self.init()
        group = identifier.group
        resource = identifier.resource
        namespace = identifier.namespace
        name = identifier.name
    }

    var domain: ResourceIdentifier {
        ResourceIdentifier(group: group, resource: resource, namespace: namespace, name: name)
    }
}

extension Generated_ResourceSelector {
    init(_ selector: ResourceSelector) {
        self.init()
        includedNamespaces = selector.includedNamespaces
        excludedNamespaces = selector.excludedNamespaces
        includedResources = selector.includedResources
        excludedResources = selector.excludedResources
        self.selector = selector.labelSelector
    }
}

extension Generated_OperationProgress {
    init(_ status: OperationStatus) {
        self.init()
        switch status.outcome {
        case .running: break
        case .succeeded: completed = true
        case .failed(let reason):
            completed = true
            // An empty reason would be taken for success.
            err = reason.isEmpty ? "failed" : reason
        }
        nCompleted = status.completed
        nTotal = status.total
        operationUnits = status.units
        description_p = status.description
        if let time = status.started { started = Google_Protobuf_Timestamp(time) }
        if let time = status.updated { updated = Google_Protobuf_Timestamp(time) }
    }
}

extension Google_Protobuf_Timestamp {
    fileprivate init(_ time: Timestamp) {
        self.init()
        seconds = time.seconds
        nanos = Int32(time.nanoseconds - time.seconds * 1_000_000_000)
    }
}

extension Data {
    /// A copy as the domain has it.
    var bytes: [UInt8] { [UInt8](self) }
}
