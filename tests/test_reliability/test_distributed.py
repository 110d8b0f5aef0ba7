"""Two processes compute what one does, on masks of their own, and stop."""

import multiprocessing
import os
import socket

import torch
import torch.distributed as torch_dist
from amd_mm.engine import GuardedOptimWrapper, NonFiniteError
from amd_mm.models import AMD, MaskedAutoencoder, TokenPartition
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.structures import BaseDataElement
from torch import nn

from tests import tiny

BATCH = 4
ALGORITHMS = {
    'videomae': tiny.videomae(),
    'direct': tiny.amd('DirectAlignment'),
    'generation': tiny.amd('GenerationAlignment'),
    'parallel': tiny.amd('ParallelAlignment'),
    'serial': tiny.amd('SerialAlignment'),
    'no reconstruction': tiny.amd(rec_weight=0.0, decoder=None, head=None),
}


def draw_from_content(self, patches):
    """Masks that depend on the clip alone, whoever has it."""
    grid = self.backbone.token_grid
    cells = patches.unflatten(1, (grid[0], -1)).mean((1, 3)).argsort(1)
    counts = self.mask_generator.counts(grid)
    sizes = [counts[name] // grid[0] for name in ('visible', 'teacher_only', 'hidden')]
    return TokenPartition(
        *(
            self.mask_generator.tokens_of(part.sort(1).values, grid)
            for part in cells.split(sizes, 1)
        )
    )


def make_clips():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (BATCH, 3, 8, 64, 64), dtype=torch.uint8, generator=generator)


def batch_of(clips):
    return dict(inputs=list(clips), data_samples=[BaseDataElement() for _ in range(len(clips))])


def gradients(model, clips):
    """Gradients of a step, wrapped or not, by parameter name."""
    inner = getattr(model, 'module', model)
    data = inner.data_preprocessor(batch_of(clips), True)
    loss, _ = inner.parse_losses(model(**data, mode='loss'))
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in inner.named_parameters()
        if parameter.requires_grad
    }


def worker(rank, port, work, queue):
    os.environ.update(
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        RANK=str(rank),
        WORLD_SIZE='2',
        LOCAL_RANK=str(rank),
    )
    torch_dist.init_process_group('gloo', rank=rank, world_size=2)
    try:
        queue.put((rank, work(rank)))
    finally:
        torch_dist.destroy_process_group()


def free_port():
    with socket.socket() as connection:
        connection.bind(('127.0.0.1', 0))
        return connection.getsockname()[1]


def on_two_processes(work):
    """{rank: work(rank)}, each in a process of a gloo group."""
    context = multiprocessing.get_context('fork')
    queue, port = context.Queue(), free_port()
    processes = [
        context.Process(target=worker, args=(rank, port, work, queue)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=600) for _ in processes)
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    return results


def half_batch_gradients(rank):
    MaskedAutoencoder.draw_partition = draw_from_content
    AMD.draw_partition = draw_from_content
    half = make_clips().chunk(2)[rank]
    results = {}
    for name, cfg in ALGORITHMS.items():
        model = MMDistributedDataParallel(tiny.build(cfg), broadcast_buffers=False)
        assert not model.find_unused_parameters
        for _ in range(2):  # an unused parameter shows in the second step
            found = gradients(model, half)
        results[name] = {key: value.numpy() for key, value in found.items()}
    return results


def test_two_halves_have_the_gradient_of_the_whole(monkeypatch):
    found = on_two_processes(half_batch_gradients)
    for cls in (MaskedAutoencoder, AMD):
        monkeypatch.setattr(cls, 'draw_partition', draw_from_content)
    for name, cfg in ALGORITHMS.items():
        expected = gradients(tiny.build(cfg), make_clips())
        for rank in range(2):
            mine = found[rank][name]
            assert set(mine) == set(expected), name
            for key, value in expected.items():
                torch.testing.assert_close(
                    torch.from_numpy(mine[key]),
                    value,
                    rtol=1e-4,
                    atol=1e-6,
                    msg=lambda text: f'{name}, {key}: {text}',
                )


def draw_masks(rank):
    model = tiny.build(tiny.amd())
    hub = MessageHub.get_current_instance()
    hub.update_info('seed', 3)
    drawn = {}
    for step in (5, 6, 5):
        hub.update_info('iter', step)
        partition = model.draw_partition(torch.zeros(2, 64, 1))
        drawn.setdefault(step, []).append(partition.visible.tolist())
    return drawn


def test_masks_differ_between_processes_and_steps():
    first, second = on_two_processes(draw_masks).values()
    assert first[5] != second[5] and first[6] != second[6]
    for drawn in (first, second):
        assert drawn[5][0] == drawn[5][1]  # the same when drawn again
        assert drawn[5][0] != drawn[6][0]


def meet_a_bad_loss(rank):
    torch.manual_seed(0)
    model = MMDistributedDataParallel(nn.Linear(2, 2), broadcast_buffers=False)
    wrapper = GuardedOptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), precision='fp32')
    before = model.module.weight.detach().clone()
    wrapper.batch_names = [f'of rank {rank}.mp4']
    loss = model(torch.ones(1, 2)).sum()
    try:
        wrapper.update_params(loss * float('nan') if rank == 1 else loss)
    except NonFiniteError as error:
        same = torch.equal(before, model.module.weight)
        return str(error), same
    return None


def test_every_process_stops_at_a_bad_loss_of_one():
    results = on_two_processes(meet_a_bad_loss)
    for rank in range(2):
        message, unchanged = results[rank]
        assert unchanged
        assert "rank 1: loss nan, videos ['of rank 1.mp4']" in message
        assert 'rank 0:' not in message
