"""Bare state dicts by names and shapes: networks that are no chain of layers, and chains.

``fc:4x8`` is ``fc.weight`` of shape [4, 8], ``bn~8`` the statistics of a batch norm of 8 channels, ``W1=4x8`` a tensor
as it is called. Most names and forms are those of public code; where a bias would stand, it is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CHAINS", "NO_CHAINS", "state_of"]


def state_of(text: str) -> dict[str, Tensor]:
    """The state dict that a line stands for, with some values."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for entry in text.split():
        for mark in ":~=":
            name, found, size = entry.partition(mark)
            if found:
                break
        keys = {":": [f"{name}.weight"], "~": [f"{name}.running_mean", f"{name}.running_var"], "=": [name]}[mark]
        state |= {key: torch.rand([int(n) for n in size.split("x")], generator=generator) for key in keys}
    return state


NO_CHAINS = {
    "factors U and V": "fc.U:8x2 fc.V:2x8",
    "factors A and B": "fc.A:2x8 fc.B:8x2",
    "a layer of low rank": "fc1:16x8 fc2.down:2x16 fc2.up:16x2 fc3:4x16",
    "resnet blocks": (
        "conv1:8x3x3x3 layer1.0.conv1:8x8x3x3 layer1.0.conv2:8x8x3x3 layer1.1.conv1:8x8x3x3 "
        "layer1.1.conv2:8x8x3x3 fc:4x8"
    ),
    "resnet bn": (
        "conv1:8x3x3x3 bn1~8 layer1.0.conv1:8x8x3x3 layer1.0.bn1~8 layer1.0.conv2:8x8x3x3 layer1.0.bn2~8 "
        "layer1.1.conv1:8x8x3x3 layer1.1.bn1~8 layer1.1.conv2:8x8x3x3 layer1.1.bn2~8 fc:4x8"
    ),
    "residual attr": "stem:8x3x3x3 block.conv1:8x8x3x3 block.conv2:8x8x3x3 fc:4x8",
    "resmlp fc1 fc2": "embed_in:8x4 mlp.0:16x8 mlp.2:8x16 head:2x8",
    "mlp blocks list": "stem:8x4 blocks.0:8x8 blocks.1:8x8 head:2x8",
    "single residual linear": "stem:8x4 mix:8x8 head:2x8",
    "first a b last lin": "first:8x4 a:8x8 b:8x8 last:2x8",
    "actor critic": "actor.0:8x4 actor.2:4x8 critic.0:8x4 critic.2:1x8",
    "policy value heads": "trunk:8x4 policy:8x8 value:1x8",
    "mu logvar": "encoder:8x4 fc_mu:8x8 fc_logvar:8x8 decoder:4x8",
    "mean std": "enc:8x4 mean:8x8 std:8x8 dec:4x8",
    "vae fc21 fc22": "fc1:8x4 fc21:8x8 fc22:8x8 fc3:8x8 fc4:4x8",
    "vae of one width": "fc1:8x8 fc21:8x8 fc22:8x8 fc3:8x8 fc4:8x8",
    "vae with a list": "encoder.0:8x4 fc21:8x8 fc22:8x8 decoder.0:4x8",
    "twins of one width": "fc11:8x8 fc12:8x8 fc2:8x8",
    "q heads": "fc:8x4 head1:8x8 head2:3x8",
    "twin q": "q1.0:8x8 q1.2:8x8 q2.0:8x8 q2.2:1x8",
    "siamese": "left.0:8x8 left.2:8x8 right.0:8x8 right.2:8x8",
    "towers": "towers.0:8x8 towers.1:8x8 towers.2:8x8",
    "ensemble": "models.0.0:8x8 models.0.2:8x8 models.1.0:8x8 models.1.2:8x8 models.2.0:8x8 models.2.2:8x8",
    "experts": "fc:8x4 experts.0:8x8 experts.1:8x8 experts.2:8x8 out:2x8",
    "attention qkv": "q:8x8 k:8x8 v:8x8 o:2x8",
    "query key value": "query:8x8 key:8x8 value:8x8 out:8x8",
    "to_qkv": "to_q:8x8 to_k:8x8 to_v:8x8 to_out:8x8",
    "se fc": "conv1:8x3x3x3 se1:2x8x1x1 se2:8x2x1x1 conv2:8x8x3x3 fc:4x8",
    "gate glu": "inp:8x4 gate:8x8 up:8x8 out:2x8",
    "swiglu": "inp:8x4 w1:8x8 w2:8x8 w3:8x8 head:2x8",
    "highway": "inp:8x4 h:8x8 t:8x8 out:2x8",
    "maxout": "inp:8x4 left:8x8 right:8x8 out:2x8",
    "unet add": "enc1:8x3x3x3 enc2:16x8x3x3 dec1:8x16x3x3 out:1x8x3x3",
    "unet down up": "inc:8x3x3x3 down1:16x8x3x3 up1:8x16x3x3 outc:1x8x3x3",
    "unet transposed": "enc1:8x3x3x3 enc2:16x8x3x3 up:16x8x2x2 dec:8x16x3x3 out:1x8x3x3",
    "transposed square decoder": "encoder.0:8x3x3x3 encoder.2:8x8x3x3 decoder.0:8x8x3x3 decoder.2:3x8x3x3",
    "edsr": "head:8x3x3x3 body.0:8x8x3x3 body.2:8x8x3x3 tail:3x8x3x3",
    "edsr blocks": "head.0:8x3x3x3 body.0.body.0:8x8x3x3 body.0.body.2:8x8x3x3 body.1:8x8x3x3 tail.0:3x8x3x3",
    "srresnet": (
        "conv1:8x3x3x3 trunk.0.rcb.0:8x8x3x3 trunk.0.rcb.1~8 trunk.0.rcb.3:8x8x3x3 trunk.0.rcb.4~8 "
        "trunk.1.rcb.0:8x8x3x3 trunk.1.rcb.1~8 trunk.1.rcb.3:8x8x3x3 trunk.1.rcb.4~8 conv2:8x8x3x3 "
        "conv3:3x8x3x3"
    ),
    "inception": "stem:8x3x3x3 conv1x1:8x8x1x1 conv3x3:8x8x3x3 conv5x5:8x8x5x5 fc:4x8",
    "branches": "stem:8x3x3x3 branch1:8x8x1x1 branch2:8x8x3x3 fc:4x8",
    "squeezenet fire": "conv:8x3x3x3 fire.squeeze:4x8x1x1 fire.expand1:8x4x1x1 fire.expand3:8x4x3x3 fc:4x8",
    "fire abbreviations": "conv:8x3x3x3 s:4x8x1x1 e1:8x4x1x1 e3:8x4x3x3 fc:4x8",
    "textcnn": "convs.0:8x1x2x4 convs.1:8x1x3x4 convs.2:8x1x4x4 convs.3:8x1x5x4 fc:2x32",
    "textcnn1d": "convs.0:8x8x3 convs.1:8x8x4 convs.2:8x8x5 fc:2x24",
    "multiscale conv_3": "conv_3:8x8x3 conv_4:8x8x4 conv_5:8x8x5 fc:2x24",
    "two branches 1 channel": "local:8x1x3x3 wide:8x1x5x5 fc:4x8",
    "graphconv": "inp:8x4 lin_rel:8x8 lin_root:8x8",
    "sage": "inp:8x4 conv1.lin_l:8x8 conv1.lin_r:8x8 out:2x8",
    "rnn": "i2h:8x8 h2h:8x8 h2o:2x8",
    "lora": "inp:8x4 fc:8x8 lora_A:2x8 lora_B:8x2 head:2x8",
    "lowrank down up": "inp:8x4 fc:8x8 down:2x8 up:8x2 head:2x8",
    "adapter": "inp:8x4 adapter.0:2x8 adapter.2:8x2 head:2x8",
    "convmixer": (
        "0:8x3x1x1 2~8 3.0.fn.0:8x1x3x3 3.0.fn.2~8 3.1:8x8x1x1 3.3~8 4.0.fn.0:8x1x3x3 4.0.fn.2~8 4.1:8x8x1x1 "
        "4.3~8 7:4x8"
    ),
    "residual sequential numeric": "0:8x3x3x3 2.0:8x8x3x3 2.2:8x8x3x3 6:4x8",
    "residual sequential lin": "inp:8x4 layers.0.0:8x8 layers.0.2:8x8 layers.1.0:8x8 layers.1.2:8x8 out:2x8",
    "fn wrap": "0:8x4 1.fn:8x8 3:2x8",
    "tcn": "network.0.conv1:8x8x3 network.0.conv2:8x8x3 network.1.conv1:8x8x3 network.1.conv2:8x8x3 linear:2x8",
    "wavenet": "start_conv:8x1x1 filter_convs.0:8x8x1 gate_convs.0:8x8x1 end:2x8x1",
    "dueling": "fc:8x4 adv:8x8 val:1x8",
    "dncnn global residual inner": "conv_in:8x3x3x3 dncnn.0:8x8x3x3 dncnn.2:8x8x3x3 dncnn.4:8x8x3x3 conv_out:3x8x3x3",
    "stacked hourglass": "pre:8x3x3x3 low1:8x8x3x3 low2:8x8x3x3 low3:8x8x3x3 out:3x8x3x3",
    "early exit": "fc1:8x4 exit1:8x8 fc2:8x8 exit2:2x8",
    "detector heads": "conv1:8x3x3x3 loc:8x8x3x3 conf:2x8x3x3",
    "preact resnet": (
        "conv1:8x3x3x3 layers.0.bn1~8 layers.0.conv1:8x8x3x3 layers.0.bn2~8 layers.0.conv2:8x8x3x3 "
        "layers.1.bn1~8 layers.1.conv1:8x8x3x3 layers.1.bn2~8 layers.1.conv2:8x8x3x3 linear:4x8"
    ),
    "preact single": (
        "conv1:8x3x3x3 layers.0.bn~8 layers.0.conv:8x8x3x3 layers.1.bn~8 layers.1.conv:8x8x3x3 linear:4x8"
    ),
    "bottleneck": (
        "conv1:8x3x3x3 layer1.0.conv1:2x8x1x1 layer1.0.conv2:2x2x3x3 layer1.0.conv3:8x2x1x1 "
        "layer1.1.conv1:2x8x1x1 layer1.1.conv2:2x2x3x3 layer1.1.conv3:8x2x1x1 fc:4x8"
    ),
    "shuffle-like": "stem:8x3x3x3 left:8x4x3x3 fc:4x12",
    "ghost": "primary:8x3x3x3 cheap:8x1x3x3 fc:4x16",
    "resnet9": "conv1.0:8x3x3x3 conv1.1~8 res1.0.0:8x8x3x3 res1.0.1~8 res1.1.0:8x8x3x3 res1.1.1~8 classifier.0:4x8",
    "dense layers concat": "conv0:8x3x3x3 d1:8x8x3x3 fc:4x16",
    "cross stitch": "task_a:8x8 task_b:8x8 head:2x8",
    "film": "fc:8x8 gamma:8x8 beta:8x8 out:2x8",
    "deeponet": "branch.0:8x8 branch.2:8x8 trunk.0:8x8 trunk.2:8x8",
    "wide and deep": "wide:8x8 deep.0:8x8 deep.2:8x8",
    "ddpm time": "fc1:8x4 fc2:8x8 time_mlp:8x8 out:2x8",
    "modulated siren": "net0:8x8 net1:8x8 mod0:8x8 mod1:8x8 last:1x8",
    "coarse fine": "coarse.0:8x4 coarse.2:4x8 fine.0:8x4 fine.2:4x8",
    "generator discriminator": "G.0:8x4 G.2:4x8 D.0:8x4 D.2:1x8",
    "encoders two": "encoder1:8x8 encoder2:8x8 head:2x8",
    "nets list": "nets.0:8x8 nets.1:8x8",
    "conv residual list in vgg": "net.0:8x3x3x3 net.2.0:8x8x3x3 net.2.2:8x8x3x3 head:2x8",
    "net1 net2": "net1:8x8 net2:8x8 head:2x8",
    "mlp1 mlp2": "stem:8x4 mlp1:8x8 mlp2:8x8 head:2x8",
    "two lists": "convs.0.lin:8x8 convs.1.lin:8x8 lins.0:8x8 lins.1:8x8 out:2x8",
    "gan distinct": "generator.0:16x4 generator.2:32x16 discriminator.0:8x32 discriminator.2:1x8",
    "ode": "fc_in:8x4 odefunc.net.0:16x8 odefunc.net.2:8x16 fc_out:2x8",
    "ode single": "fc_in:8x4 odefunc.linear:8x8 fc_out:2x8",
    "lstm raw": "W_i=8x8 W_f=8x8 W_o=8x8 W_c=8x8",
    "lstm raw 2": "Wi=8x8 Wf=8x8 Wo=8x8",
    "gru raw u": "W_z=8x8 U_z=8x8 W_r=8x8 U_r=8x8",
    "bahdanau": "W1:8x8 W2:8x8 V:1x8",
    "bahdanau raw": "W1=8x8 W2=8x8 V=1x8",
    "uv": "U:8x8 V:8x8 out:2x8",
    "uv raw": "U=2x8 V=8x2",
    "ab raw": "A=2x8 B=8x2",
    "lora raw nested": "fc:8x8 fc.A=2x8 fc.B=8x2",
    "lora leaf": "layers.0:8x4 layers.1:8x8 layers.1.lora_A=2x8 layers.1.lora_B=8x2",
    "peft": "fc.base_layer:8x8 fc.lora_A.default:2x8 fc.lora_B.default:8x2",
    "flax": "Dense_0/kernel=8x8 Dense_1/kernel=8x8",
    "flax 1": "Dense_0/kernel=8x8",
    "flax dots": "params.Dense_0.kernel=8x8 params.Dense_1.kernel=8x8 params.Dense_2.kernel=8x8",
    "flax conv": "Conv_0/kernel=3x3x1x8 Conv_1/kernel=3x3x8x8",
    "keras tf": "dense/kernel=8x8 dense_1/kernel=8x8",
    "flax palindrome": "Dense_0/kernel=4x8 Dense_1/kernel=8x4",
    "haiku w": "linear/w=8x8 linear_1/w=8x8",
    "numpy W": "W1=8x8 W2=8x8",
    "timm mbv2 unit": "conv_stem:8x3x3x3 blocks.0.0.conv_dw:8x1x3x3 blocks.0.0.conv_pw:8x8x1x1 classifier:4x8",
    "linear nonlinear": "linear.0:8x8 linear.1:8x8 nonlinear.0:8x8 nonlinear.1:8x8",
    "realnvp": "s.0:8x8 s.2:8x8 t.0:8x8 t.2:8x8",
    "task heads": "shared:8x4 task1:8x8 task2:3x8",
    "heads list": "fc:8x4 heads.0:8x8 heads.1:8x8 heads.2:3x8",
    "ppo lin": "base:8x4 actor_head:8x8 critic_head:1x8",
    "ppo shared": "fc1:8x4 fc2:8x8 fc_pi:8x8 fc_v:1x8",
    "sac": "linear1:8x4 linear2:8x8 mean_linear:8x8 log_std_linear:8x8",
    "cond": "fc1:8x4 cond:8x8 fc2:8x8 out:1x8",
    "resnet A cifar": (
        "conv1:8x3x3x3 bn1~8 layer1.0.conv1:8x8x3x3 layer1.0.bn1~8 layer1.0.conv2:8x8x3x3 layer1.0.bn2~8 "
        "layer2.0.conv1:16x8x3x3 layer2.0.bn1~16 layer2.0.conv2:16x16x3x3 layer2.0.bn2~16 linear:4x16"
    ),
    "resnet A widening only": (
        "conv1:8x3x3x3 layer1.0.conv1:16x8x3x3 layer1.0.conv2:16x16x3x3 layer2.0.conv1:32x16x3x3 "
        "layer2.0.conv2:32x32x3x3 linear:4x32"
    ),
    "resmlp fc in block": "in_proj:8x4 block.fc:8x8 out_proj:2x8",
    "res named r": "stem:8x4 r1:8x8 r2:8x8 head:2x8",
    "ladder": "enc1:8x4 enc2:4x8 dec2:8x4 dec1:4x8",
    "hourglass": "down1:8x3x3x3 down2:16x8x3x3 up2:8x16x3x3 up1:3x8x3x3",
    "crossattn": "to_q:8x8 to_kv:8x8 to_out:8x8",
    "conv1 conv2 skip": "conv1:8x3x3x3 conv2:8x8x3x3 conv_skip:8x8x1x1 fc:4x8",
    "proj shortcut word": "conv1:8x3x3x3 conv2:8x8x3x3 conv_proj:8x8x1x1 fc:4x8",
    "fpn": "layer1:8x3x3x3 layer2:8x8x3x3 lateral1:8x8x1x1 smooth1:8x8x3x3",
    "aspp": "conv1:8x3x3x3 aspp1:8x8x1x1 aspp2:8x8x3x3 aspp3:8x8x3x3 fc:4x8",
    "psp": "stem:8x3x3x3 ppm.0:8x8x1x1 ppm.1:8x8x1x1 fc:4x8",
    "csp": "cv1:8x3x1x1 cv2:8x8x1x1 cv3:8x8x1x1 fc:4x8",
    "c3": "conv1:8x3x3x3 m.0.cv1:8x8x1x1 m.0.cv2:8x8x3x3 fc:4x8",
    "repvgg": "stem:8x3x3x3 rbr_dense.conv:8x8x3x3 rbr_1x1.conv:8x8x1x1 fc:4x8",
    "eca": "conv1:8x3x3x3 eca.conv:8x8x1x1 conv2:8x8x3x3 fc:4x8",
    "cbam": "conv1:8x3x3x3 ca.fc1:2x8x1x1 ca.fc2:8x2x1x1 conv2:8x8x3x3 fc:4x8",
    "nonlocal": "conv1:8x3x3x3 theta:4x8x1x1 phi:4x4x1x1 g:4x4x1x1 W:8x4x1x1 fc:4x8",
    "densenet no bn": "conv0:8x1x3x3 conv1:8x8x3x3 conv2:8x16x3x3 fc:4x24",
    "weight shared siam": "branch_a:8x8 branch_b:8x8",
    "multi in": "image_fc:8x4 text_fc:4x8 joint:2x4",
    "tucker": "U1=8x8 U2=8x8 U3=8x8",
    "mask raw": "0:8x4 2:8x8 4:1x8 mask=8x8",
    "pos": "0:8x4 2:8x8 4:1x8 pos=1x8x8",
    "fourier": "B=4x2 net.0:8x8 net.2:1x8",
}

CHAINS = {
    "seq": "0:8x2 2:8x8 4:8x8 6:1x8",
    "seq in==hid": "0:8x8 2:8x8 4:8x8",
    "net.": "net.0:8x2 net.2:8x8 net.4:1x8",
    "seq.": "seq.0:8x2 seq.2:8x8 seq.4:1x8",
    "fc1..4": "fc1:8x2 fc2:8x8 fc3:8x8 fc4:1x8",
    "fc1..3 square": "fc1:8x8 fc2:8x8 fc3:8x8",
    "fc no number last": "fc1:8x2 fc2:8x8 fc:8x8",
    "layers.n": "layers.0:8x2 layers.1:8x8 layers.2:8x8 layers.3:1x8",
    "layers.n linear": "layers.0.linear:8x2 layers.1.linear:8x8 layers.2.linear:1x8",
    "siren net": "net.0.linear:8x2 net.1.linear:8x8 net.2.linear:8x8 net.3.linear:1x8",
    "siren net last": "net.0.linear:8x2 net.1.linear:8x8 net.2.linear:8x8 net.3:1x8",
    "siren final": "net.0.linear:8x2 net.1.linear:8x8 net.2.linear:8x8 final_linear:1x8",
    "siren lucid": "layers.0:8x2 layers.1:8x8 layers.2:8x8 last_layer:1x8",
    "first hidden last": "first:8x2 hidden.0:8x8 hidden.1:8x8 last:1x8",
    "first_layer hidden_layers last_layer": "first_layer:8x2 hidden_layers.0:8x8 hidden_layers.1:8x8 last_layer:1x8",
    "input hidden1 hidden2 output": "input:8x2 hidden1:8x8 hidden2:8x8 output:1x8",
    "input_layer hidden_layer output_layer": "input_layer:8x2 hidden_layer:8x8 output_layer:1x8",
    "fc_in fc_out": "fc_in:8x2 fc_hidden:8x8 fc_out:1x8",
    "linear1 linear2": "linear1:8x2 linear2:8x8 linear3:8x8",
    "l1 l2 l3": "l1:8x2 l2:8x8 l3:1x8",
    "linear_relu_stack": "linear_relu_stack.0:64x784 linear_relu_stack.2:64x64 linear_relu_stack.4:10x64",
    "autoencoder": "encoder.0:8x16 encoder.2:4x8 decoder.0:8x4 decoder.2:16x8",
    "lenet": "conv1:6x1x5x5 conv2:16x6x5x5 fc1:120x400 fc2:84x120 fc3:10x84",
    "lenet seq": "features.0:6x1x5x5 features.3:16x6x5x5 classifier.0:120x400 classifier.2:84x120 classifier.4:10x84",
    "alexnet": (
        "features.0:8x3x11x11 features.3:16x8x5x5 features.6:24x16x3x3 features.8:16x24x3x3 "
        "features.10:16x16x3x3 classifier.1:64x576 classifier.4:64x64 classifier.6:10x64"
    ),
    "vgg": (
        "features.0:8x3x3x3 features.2:8x8x3x3 features.5:16x8x3x3 features.7:16x16x3x3 features.10:32x16x3x3 "
        "features.12:32x32x3x3 features.14:32x32x3x3 classifier.0:64x1568 classifier.3:64x64 "
        "classifier.6:10x64"
    ),
    "vgg bn": (
        "features.0:8x3x3x3 features.1~8 features.3:8x8x3x3 features.4~8 features.7:16x8x3x3 features.8~16 "
        "features.10:16x16x3x3 features.11~16 features.14:32x16x3x3 features.15~32 features.17:32x32x3x3 "
        "features.18~32 features.20:32x32x3x3 features.21~32 classifier.0:64x1568 classifier.3:64x64 "
        "classifier.6:10x64"
    ),
    "conv bn fc": "conv1:8x3x3x3 bn1~8 conv2:8x8x3x3 bn2~8 fc:10x8",
    "conv bn fc 3": "conv1:8x3x3x3 bn1~8 conv2:8x8x3x3 bn2~8 conv3:8x8x3x3 bn3~8 fc1:8x8 fc2:8x8 fc3:10x8",
    "bns at end": "conv1:8x3x3x3 conv2:16x8x3x3 bn1~8 bn2~16 fc:10x16",
    "layer1.0 seq": "layer1.0:16x1x5x5 layer1.1~16 layer2.0:32x16x5x5 layer2.1~32 fc:10x1568",
    "layer1 double": "layer1.0:8x3x3x3 layer1.2:8x8x3x3 layer2.0:16x8x3x3 layer2.2:16x16x3x3 fc:10x16",
    "small cnn zoo": "layers.0:16x1x3x3 layers.1:16x16x3x3 layers.2:16x16x3x3 fc:10x16",
    "small cnn module_list": (
        "module_list.0:8x1x5x5 module_list.3:6x8x5x5 module_list.6:4x6x2x2 module_list.9:20x36 module_list.11:10x20"
    ),
    "conv1d": "0:8x1x3 2:8x8x3 6:2x8",
    "module.": "module.0:8x2 module.2:8x8 module.4:1x8",
    "model.net.": "model.net.0:8x2 model.net.2:8x8 model.net.4:1x8",
    "W1 b1": "W1=8x2 b1=8 W2=8x8 b2=8 W3=1x8 b3=1",
    "weights.0": "weights.0=8x2 weights.1=8x8 weights.2=1x8 biases.0=8 biases.1=8 biases.2=1",
    "actor only": "actor.0:8x4 actor.2:8x8 actor.4:2x8",
    "policy net": "policy_net.0:64x4 policy_net.2:64x64 policy_net.4:2x64",
    "backbone head": "backbone.0:8x4 backbone.2:8x8 head:3x8",
    "encoder classifier": "encoder.0:8x16 encoder.2:8x8 classifier:8x8",
    "nested net.net": "net.net.0:8x2 net.net.2:8x8 net.net.4:1x8",
    "nerf": "pts_linears.0:8x3 pts_linears.1:8x8 pts_linears.2:8x8 output_linear:4x8",
    "mnist example": "conv1:32x1x3x3 conv2:64x32x3x3 fc1:128x9216 fc2:10x128",
    "hidden sizes": "fc_1:8x2 fc_2:8x8 fc_3:1x8",
    "allconv": "features.0:8x3x3x3 features.2:8x8x3x3 features.4:8x8x3x3 classifier:10x8x1x1",
    "one layer": "weight=4x4 bias=4",
    "one conv": "weight=3x3x3x3 bias=3",
    "a b distinct": "a:4x2 b:1x4",
    "conv1_1 vgg caffe": "conv1_1:8x3x3x3 conv1_2:8x8x3x3 conv2_1:16x8x3x3 conv2_2:16x16x3x3 fc6:10x16",
    "conv_layers fc_layers": (
        "conv_layers.0:8x1x3x3 conv_layers.2:8x8x3x3 fc_layers.0:32x392 fc_layers.2:32x32 fc_layers.4:10x32"
    ),
    "mlp.layers": "mlp.layers.0:8x2 mlp.layers.2:8x8 mlp.layers.4:1x8",
    "dropout names": "lin1:8x2 lin2:8x8 out:1x8",
    "keras-like dense": "dense:8x4 dense_1:8x8 dense_2:2x8",
    "tf-ish nonsquare kernel": "dense_0.kernel=8x4 dense_1.kernel=2x8",
    "conv block1": "block1.0:8x3x3x3 block1.1~8 block2.0:16x8x3x3 block2.1~16 fc:10x16",
    "bn mlp": "0:8x4 1~8 3:8x8 4~8 6:2x8",
    "dncnn": "dncnn.0:8x1x3x3 dncnn.2:8x8x3x3 dncnn.3~8 dncnn.5:8x8x3x3 dncnn.6~8 dncnn.8:1x8x3x3",
    "srcnn": "conv1:64x1x9x9 conv2:32x64x5x5 conv3:1x32x5x5",
    "seqseq": "0.0:8x8 1.0:8x8 2.0:8x8",
    "pl": "model.layer_1:8x4 model.layer_2:8x8 model.layer_3:2x8",
    "fastai": "layers.0.0:8x4 layers.0.2~8 layers.1.0:8x8 layers.1.2~8 layers.2.0:2x8",
    "skorch": "dense0:8x4 dense1:8x8 output:2x8",
    "sitz": "net.net.0.0:8x2 net.net.1.0:8x8 net.net.2.0:8x8 net.net.3.0:1x8",
    "feature_extractor": (
        "feature_extractor.0:8x1x5x5 feature_extractor.3:16x8x5x5 classifier.0:8x16 classifier.2:8x8 classifier.4:3x8"
    ),
    "conv seq named": "conv1.0:8x3x3x3 conv1.1~8 conv2.0:8x8x3x3 conv2.1~8 fc:4x8",
    "conv fc seq": "conv.0:8x3x3x3 conv.2:8x8x3x3 fc.0:8x8 fc.2:4x8",
    "enc dec fc": "encoder.fc1:8x16 encoder.fc2:4x8 decoder.fc1:8x4 decoder.fc2:16x8",
    "layers.fc": "layers.fc1:8x4 layers.fc2:8x8 layers.fc3:2x8",
    "fc1 fc2 out": "fc1:8x4 fc2:8x8 out:8x8",
    "in hid out": "in_layer:8x4 hidden_layers.0:8x8 hidden_layers.1:8x8 hidden_layers.2:8x8 out_layer:2x8",
    "linears list": "linears.0:8x4 linears.1:8x8 linears.2:8x8",
    "hidden list final": "hidden.0:8x8 hidden.1:8x8 final:8x8",
    "lin nums": "lin0:8x8 lin1:8x8 lin2:8x8 lin3:8x8",
    "first_layer siren": (
        "first_layer.linear:8x2 hidden_layers.0.linear:8x8 hidden_layers.1.linear:8x8 final_layer:3x8"
    ),
    "first layer siren2": "first:8x2 hidden1:8x8 hidden2:8x8 last:1x8",
    "cnn dense": "conv2d:8x1x3x3 conv2d_1:8x8x3x3 dense:8x8 dense_1:2x8",
    "kernel decisive": "Dense_0.kernel=8x4 Dense_0.bias=8 Dense_1.kernel=8x8 Dense_1.bias=8",
    "gap last": "conv_1:8x3x3x3 conv_2:8x8x3x3 conv_3:4x8x1x1",
    "nin": "features.0:8x3x5x5 features.2:8x8x1x1 features.4:8x8x1x1 features.7:8x8x5x5 features.9:4x8x1x1",
    "orig prefix": "_orig_mod.module.net.0:8x2 _orig_mod.module.net.2:8x8 _orig_mod.module.net.4:1x8",
    "convnet mnist": "conv1:10x1x5x5 conv2:20x10x5x5 fc1:50x320 fc2:10x50",
    "ten fc": "fc1:8x8 fc2:8x8 fc3:8x8 fc4:8x8 fc5:8x8 fc6:8x8 fc7:8x8 fc8:8x8 fc9:8x8 fc10:8x8 fc11:8x8",
    "dqn": "conv1:32x4x8x8 conv2:64x32x4x4 conv3:64x64x3x3 fc1:512x3136 fc2:6x512",
    "mlp.0": "mlp.0:8x8 mlp.2:8x8 mlp.4:8x8",
    "layers bns lists": "fcs.0:8x4 fcs.1:8x8 fcs.2:2x8 bns.0~8 bns.1~8",
    "stage": "stage1.0:8x3x3x3 stage2.0:16x8x3x3 stage3.0:32x16x3x3 head:4x32",
}
