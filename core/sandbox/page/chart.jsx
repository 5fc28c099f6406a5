import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'

const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

const clock = (_, moments) => moments.map((moment) => new Date(moment * 1000).toTimeString().slice(0, 8))

const series = [
  ['bucket level', '--accent', 'level'],
  ['requests/s', '--good', 'rate'],
  ['refused/s', '--bad', 'rate'],
]

/** The bucket's level (left) and the rates (right), newest at the right edge. */
export function Chart({ points, burst, theme }) {
  const place = useRef(null)
  const chart = useRef(null)
  useEffect(() => {
    const element = place.current
    const axis = { stroke: styled('--quiet'), grid: { stroke: styled('--line'), width: 1 }, font: '11px sans-serif' }
    chart.current = new UPlot(
      {
        width: element.clientWidth,
        height: 150,
        legend: { live: false },
        cursor: { show: false },
        scales: {
          x: { range: (_, __, last) => [(last || Date.now() / 1000) - 120, last || Date.now() / 1000] },
          level: { range: (_, __, most) => [0, Math.max(burst, most, 1)] },
          rate: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] },
        },
        axes: [
          { ...axis, values: clock, space: 90 },
          { ...axis, scale: 'level' },
          { ...axis, scale: 'rate', side: 1, grid: { show: false } },
        ],
        series: [
          {},
          ...series.map(([label, colour, scale]) => ({
            label,
            scale,
            stroke: styled(colour),
            width: 1.5,
            points: { show: false },
          })),
        ],
      },
      [[], [], [], []],
      element,
    )
    const resized = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height: 150 }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      chart.current.destroy()
      chart.current = null
    }
  }, [theme, burst])
  useEffect(() => {
    chart.current?.setData([0, 1, 2, 3].map((i) => points.map((point) => point[i])))
  }, [points])
  return <div class="chart" ref={place} role="img" aria-label="The bucket's level, and requests a second" />
}
