"""The FederatedSearch resource: the one source of the CRD, of validation and of the docs.

Imports no torch. `load_spec` reads and checks a file; the models hold what it says; `crd` is the
CustomResourceDefinition generated from them.
"""

from fednas.spec._address import bucket_problem, endpoint_problem, key_problem, parse_s3
from fednas.spec._base import Model, OneOf
from fednas.spec._crd import crd, crd_yaml
from fednas.spec._data import (
    Central,
    Columns,
    Data,
    Dirichlet,
    Evaluation,
    Iid,
    Partition,
)
from fednas.spec._fleet import (
    Budget,
    ComputeResources,
    CoordinatorPod,
    DeviceClass,
    Federation,
    MacsBudget,
    ResourceList,
    Storage,
    Tracking,
)
from fednas.spec._identity import differences, identity, identity_digest
from fednas.spec._load import load_spec
from fednas.spec._network import MODULE_PATTERN, Initial, ModelArgs, Network
from fednas.spec._quantity import quantity
from fednas.spec._search import (
    API_VERSION,
    KIND,
    Client,
    FederatedSearch,
    Metadata,
    SearchSpec,
    clients,
)
from fednas.spec._status import (
    BestRung,
    CandidateCounts,
    ClientCounts,
    Condition,
    CostStatus,
    Display,
    Phase,
    PodCounts,
    RungStatus,
    SearchStatus,
    SelectedRung,
)
from fednas.spec._strategy import (
    ConstantRounds,
    EarlyDrop,
    MacsTarget,
    NetAdapt,
    Rounds,
    Strategy,
    StrategySettings,
    Target,
    TopK,
)
from fednas.spec._training import (
    InitialOptimizer,
    InitialSgd,
    InitialTraining,
    Optimizer,
    Sgd,
    Training,
)

__all__ = [
    "API_VERSION",
    "KIND",
    "MODULE_PATTERN",
    "BestRung",
    "Budget",
    "CandidateCounts",
    "Central",
    "Client",
    "ClientCounts",
    "Columns",
    "ComputeResources",
    "Condition",
    "ConstantRounds",
    "CoordinatorPod",
    "CostStatus",
    "Data",
    "DeviceClass",
    "Dirichlet",
    "Display",
    "EarlyDrop",
    "Evaluation",
    "FederatedSearch",
    "Federation",
    "Iid",
    "Initial",
    "InitialOptimizer",
    "InitialSgd",
    "InitialTraining",
    "MacsBudget",
    "MacsTarget",
    "Metadata",
    "Model",
    "ModelArgs",
    "NetAdapt",
    "Network",
    "OneOf",
    "Optimizer",
    "Partition",
    "Phase",
    "PodCounts",
    "ResourceList",
    "Rounds",
    "RungStatus",
    "SearchSpec",
    "SearchStatus",
    "SelectedRung",
    "Sgd",
    "Storage",
    "Strategy",
    "StrategySettings",
    "Target",
    "TopK",
    "Tracking",
    "Training",
    "bucket_problem",
    "clients",
    "crd",
    "crd_yaml",
    "differences",
    "endpoint_problem",
    "identity",
    "identity_digest",
    "key_problem",
    "load_spec",
    "parse_s3",
    "quantity",
]
